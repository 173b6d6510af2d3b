"""The commands `mediaflow fleet …`: GPU boxes that are rented when there is work worth it."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediaflow.cli.arguments import Json
from mediaflow.cli.fleet_simulate import simulate
from mediaflow.cli.output import duration, note, print_json, print_table, when

if TYPE_CHECKING:
    import sqlite3

    from mediaflow.fleet.controller import Controller

fleet_app = typer.Typer(help="GPU boxes: what is rented, why, and what it costs.", no_args_is_help=True)
fleet_app.command()(simulate)
MOST_ROWS = 12


@fleet_app.command()
def plan(json: Json = False) -> None:
    """Show what would be rented now, and why; nothing is rented."""
    from mediaflow.catalog.database import connect as open_catalog
    from mediaflow.fleet import report
    from mediaflow.fleet.backlog import read_backlog
    from mediaflow.fleet.ledger import open_ledger
    from mediaflow.fleet.settings import load_fleet

    with closing(open_ledger()) as db, closing(open_catalog()) as catalog:
        answer = report.plan(_controller(db), db, read_backlog(catalog, load_fleet()), time.time())
    if json:
        print_json(answer)
        return
    waiting = ", ".join(f"{count:,} {task}" for task, count in answer["waiting"].items())
    print(f"Waiting: {waiting or 'nothing'}")
    print(answer["why"])
    print(f"It would rent offer {answer['order']}." if answer["order"] else "It would rent nothing now.")
    if not answer["offers"]:
        print("No offer fits (configs/fleet.yaml: offers, caps.price_per_hour).")
        return
    print()
    columns = ["offer", "gpu", "in", "$/h", "speed", "reliable", "start", "$", "$/1,000"]
    rows = [
        [
            each["offer"], each["gpu"], each["region"], f"{each['price']:.3f}",
            f"{each['speed']:.0f}x" + ("" if each["measured"] else "?"), f"{each['reliability']:.3f}",
            f"{each['start']:.0f} s", f"{each['dollars']:.3f}", f"{each['per_thousand']:.4f}",
        ]
        for each in answer["offers"][:MOST_ROWS]
    ]  # fmt: skip
    print_table(columns, rows, right=["$/h", "speed", "reliable", "start", "$", "$/1,000"])
    if len(answer["offers"]) > MOST_ROWS:
        print(f"and {len(answer['offers']) - MOST_ROWS} more (--json shows all)")
    print(
        "Speed: times this machine; `?`: guessed, not measured. $: for all that it would do, start included."
    )


@fleet_app.command()
def run() -> None:
    """Rent and end boxes as work comes and goes, until Ctrl-C; then all of them end."""
    from mediaflow.fleet.running import Loop
    from mediaflow.fleet.settings import load_fleet

    loop = Loop(_enabled(load_fleet()), note)

    def stop(_number: int, _frame: Any) -> None:
        loop.stop = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    loop.run()


@fleet_app.command()
def status(json: Json = False) -> None:
    """Show the boxes, what they cost, and what the controller says."""
    from mediaflow.fleet import report
    from mediaflow.fleet.ledger import open_ledger

    with closing(open_ledger()) as db:
        answer = report.fleet_state(db, time.time())
    if json:
        print_json(answer)
    else:
        print_fleet(answer)


def print_fleet(state: dict[str, Any]) -> None:
    """The fleet for people."""
    if state["boxes"]:
        rows = [
            [
                each["box"].rpartition("-")[2], each["state"], each["gpu"], each["region"],
                f"{each['price']:.3f}", duration(each["age"]), f"{each['done']:,}", f"{each['cost']:.3f}",
            ]
            for each in state["boxes"]
        ]  # fmt: skip
        columns = ["box", "state", "gpu", "in", "$/h", "age", "done", "cost $"]
        print_table(columns, rows, right=["$/h", "done", "cost $"])
    else:
        print("Boxes: none")
    print(f"Spent: {state['spend_today']:.2f} $ today, {state['spend_month']:.2f} $ this month (UTC).")
    if not state["controller"]:
        print("The controller does not run (mediaflow up, or mediaflow fleet run).")
    if state["why"]:
        print(state["why"])
    if state["hold"]:
        print(f"On hold by `fleet {state['hold']}`: mediaflow fleet resume.")
    if state["trouble"]:
        print(f"Trouble: {state['trouble']}")
    if state["fallback"] == "here":
        print("Without boxes: the work goes on at this machine.")
    elif state["fallback"] == "waits":
        print(f"Without boxes: the work waits until {when(state['resumes'])}, then goes on here.")


@fleet_app.command()
def costs(json: Json = False) -> None:
    """Show what the fleet has cost, by day, GPU and task, and what the caps still allow."""
    from mediaflow.fleet import report
    from mediaflow.fleet.ledger import open_ledger
    from mediaflow.fleet.settings import load_fleet

    with closing(open_ledger()) as db:
        answer = report.costs(db, load_fleet(), time.time())
    if json:
        print_json(answer)
        return
    print(f"Today {answer['today']:.2f} $ (left {answer['left_today']:.2f} $), this month", end=" ")
    print(f"{answer['month']:.2f} $ (left {answer['left_month']:.2f} $), days of UTC.")
    if answer["credit"] is not None:
        print(f"Credit at the market: {answer['credit']:.2f} $")
    if answer["days"]:
        print()
        print_table(["day", "$"], [[d["day"], f"{d['dollars']:.3f}"] for d in answer["days"]], right=["$"])
    if answer["gpus"]:
        rows = [
            [gpu, int(e["boxes"]), f"{int(e['items']):,}", f"{e['dollars']:.3f}", f"{e['per_thousand']:.4f}"]
            for gpu, e in answer["gpus"].items()
        ]
        print()
        figures = ["boxes", "items", "$", "$/1,000 items"]
        print_table(["gpu", *figures], rows, right=figures)
    if answer["tasks"]:
        print()
        rows = [[task, f"{dollars:.5f}"] for task, dollars in answer["tasks"].items()]
        print_table(["task", "$/1,000 items at work"], rows, right=["$/1,000 items at work"])


@fleet_app.command()
def drain() -> None:
    """Let boxes finish what they have in hand and end; rent nothing until `fleet resume`."""
    _hold("drain", 300)


@fleet_app.command()
def down() -> None:
    """End all boxes now and see that they are gone; rent nothing until `fleet resume`."""
    _hold("down", 0)


@fleet_app.command()
def resume() -> None:
    """Rent again after `fleet drain` or `fleet down`."""
    from mediaflow.fleet.ledger import open_ledger, put_fact

    with closing(open_ledger()) as db:
        put_fact(db, "hold", "", time.time())
    note("The controller rents again when there is work worth it.")


@fleet_app.command()
def logs(
    box: Annotated[str, typer.Argument(help="A box, as `fleet status` names it.")],
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="How many lines of its end.")] = 100,
) -> None:
    """Show the end of a box's log."""
    from mediaflow.errors import UsageError
    from mediaflow.fleet.ledger import open_ledger
    from mediaflow.fleet.running import the_market
    from mediaflow.fleet.settings import load_fleet
    from mediaflow.names import readable
    from mediaflow.settings import home

    with closing(open_ledger()) as db:
        rows = db.execute("SELECT label, contract, state FROM boxes ORDER BY intended DESC").fetchall()
    found = next((row for row in rows if box in (row["label"], row["label"].rpartition("-")[2])), None)
    if found is None:
        raise UsageError(
            f"There is no box {box!r}: `mediaflow fleet status` and `fleet costs --json` name them."
        )
    kept = home() / "logs" / f"box-{found['label']}.log"
    if kept.exists():
        text = kept.read_text(encoding="utf-8", errors="replace")
    elif found["contract"] is None or found["state"] == "ended":
        raise UsageError(f"Box {box} has ended, and sent no log.")
    else:
        text = the_market(load_fleet()).logs(found["contract"], lines)
    for line in text.splitlines()[-lines:]:
        print(readable(line))


@fleet_app.command()
def doctor(json: Json = False) -> None:
    """Look for what may be wrong: leaks and what they cost, the key, the gateway, the controller."""
    from mediaflow.fleet.examination import examine
    from mediaflow.fleet.ledger import open_ledger
    from mediaflow.fleet.settings import load_fleet

    with closing(open_ledger()) as db:
        answer = examine(db, load_fleet(), time.time())
    if json:
        print_json(answer)
    else:
        for each in answer["checks"]:
            print(f"{'ok     ' if each['ok'] else 'PROBLEM'}  {each['check']}: {each['said']}")
    if not answer["well"]:
        raise typer.Exit(1)


def _enabled(settings: Any) -> Any:
    from mediaflow.errors import UsageError

    if not settings.enabled:
        raise UsageError(
            "The fleet is not enabled: set `enabled: true` in configs/fleet.yaml"
            " (or MEDIAFLOW_FLEET__ENABLED=true)."
        )
    return settings


def _controller(db: sqlite3.Connection) -> Controller:
    from mediaflow.fleet.controller import Controller
    from mediaflow.fleet.running import the_market
    from mediaflow.fleet.settings import load_fleet

    settings = load_fleet()
    return Controller(the_market(settings), db, settings)


def _hold(what: str, finish_seconds: float) -> None:
    """Have boxes go: by the controller that runs, or else by this process."""
    from mediaflow.fleet import ledger
    from mediaflow.fleet.running import END_SECONDS, LOCK, only_one, wind_down
    from mediaflow.ops.lock import holder

    with closing(ledger.open_ledger()) as db:
        ledger.put_fact(db, "hold", what, time.time())
        deadline = time.monotonic() + finish_seconds + END_SECONDS
        while holder(LOCK) is not None and ledger.boxes(db) and time.monotonic() < deadline:
            time.sleep(0.5)
        if holder(LOCK) is None:
            with only_one():
                wind_down(_controller(db), db, finish_seconds)
        left = ledger.boxes(db)
    if left:
        for box in left:
            note(f"{box.label}: {box.state}, contract {box.contract}, {box.price:.3f} $ an hour")
        note("They could not be ended yet. Do it again, or end them at Vast.ai's console.")
        raise typer.Exit(3)
    note("No box is left. Nothing is rented until `mediaflow fleet resume`.")
