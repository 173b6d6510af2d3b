"""The commands `mediaflow fleet …`: GPU boxes that are rented when there is work worth it."""

from __future__ import annotations

import math
import signal
import time
from contextlib import closing
from typing import Annotated, Any

import typer

from mediaflow.cli.arguments import Json
from mediaflow.cli.fleet_simulate import simulate
from mediaflow.cli.output import note, print_json
from mediaflow.lifeline import Stop
from mediaflow.names import readable

fleet_app = typer.Typer(help="GPU boxes: what is rented, why, and what it costs.", no_args_is_help=True)


@fleet_app.command()
def plan(
    most: Annotated[int, typer.Option(help="So many offers at most.", min=1)] = 12, json: Json = False
) -> None:
    """Show what would be rented now and why, beside what else is offered. Rents nothing."""
    from mediaflow.cli.fleet_show import print_plan
    from mediaflow.fleet.proposal import propose

    answer = propose(_settings(), most)
    print_json(answer) if json else print_plan(answer)


@fleet_app.command()
def run() -> None:
    """Be the controller: rent and end boxes, until told to stop; then end them all."""
    from mediaflow.errors import UsageError
    from mediaflow.fleet.run import run as run_controller

    fleet = _settings()
    if not fleet.enabled:
        raise UsageError("The fleet is not enabled: set `enabled: true` in configs/fleet.yaml.")
    if not run_controller(fleet, note, _until_told()).is_clear:
        raise typer.Exit(3)


@fleet_app.command()
def status(json: Json = False) -> None:
    """Show the boxes, what is spent, and what the controller does and why."""
    from mediaflow.cli.fleet_show import print_fleet
    from mediaflow.fleet.ledger import open_ledger
    from mediaflow.fleet.state import fleet_state

    with closing(open_ledger()) as db:
        answer = fleet_state(db, _settings())
    print_json(answer) if json else print_fleet(answer)


@fleet_app.command()
def costs(json: Json = False) -> None:
    """Show what boxes have cost: by day, month, box and task, and for 1,000 files."""
    from mediaflow.catalog.database import catalog_path
    from mediaflow.catalog.database import connect as open_catalog
    from mediaflow.cli.fleet_show import costs_answer, print_costs
    from mediaflow.fleet.costs import costs as add_up
    from mediaflow.fleet.ledger import open_ledger

    with closing(open_ledger()) as db:
        if catalog_path().exists():
            with closing(open_catalog()) as catalog:
                found = add_up(db, catalog, time.time())
        else:
            found = add_up(db, None, time.time())
    answer = costs_answer(found, _settings())
    print_json(answer) if json else print_costs(answer)


@fleet_app.command()
def drain(json: Json = False) -> None:
    """Have boxes finish what they have in hand and end; nothing is rented until `fleet resume`."""
    from mediaflow.fleet.run import drain as begin

    by_controller = begin(_settings(), note, _until_told())
    state = _state()
    left = state["boxes"]
    there = f"{len(left)} {'box' if len(left) == 1 else 'boxes'}"
    if json:
        print_json({"hold": state["hold"], "left": [box["box"] for box in left]})
    elif by_controller and left:
        note(f"{there} to finish what is in hand, and then to end: mediaflow fleet status")
    elif not left:
        note("No box is left in the ledger, and none is rented until `mediaflow fleet resume`.")
    if left and not by_controller:
        minutes = math.ceil(max(0.0, *(box["lease"] - time.time() for box in left)) / 60)
        note(
            f"{there} left, and nobody watches: what is left ends itself within {minutes} min. "
            "`mediaflow fleet down` ends it now."
        )
        raise typer.Exit(3)


@fleet_app.command()
def resume(json: Json = False) -> None:
    """Rent again, after `fleet drain` or `fleet down`."""
    from mediaflow.fleet.ledger import open_ledger
    from mediaflow.fleet.run import hold

    with closing(open_ledger()) as db:
        hold(db, None)
    if json:
        print_json({"hold": None})
    elif not _settings().enabled:
        note("Nothing is held, and nothing is rented: the fleet is not enabled (configs/fleet.yaml).")
    elif _state()["controller"] is None:
        note("Boxes are rented again when they are needed and a controller runs: mediaflow up.")
    else:
        note("Boxes are rented again when they are needed.")


@fleet_app.command()
def down(json: Json = False) -> None:
    """End all boxes now, and wait until the market lists none; nothing is rented until `fleet resume`."""
    from mediaflow.fleet.run import down as end_all

    end = end_all(_settings(), note)
    if json:
        left = [box.label for box in end.boxes]
        print_json({"hold": "down", "left": left, "listed": end.listed, "unseen": end.unseen})
    for sentence in end.sentences():
        note(sentence)
    if not end.is_clear:
        raise typer.Exit(3)
    note("No box is left, and none is rented until `mediaflow fleet resume`.")


@fleet_app.command()
def logs(
    box: Annotated[str, typer.Argument(help="The box: its label or the end of it, or its contract.")],
    lines: Annotated[int, typer.Option(help="So many lines at most.", min=1, max=10_000)] = 100,
    json: Json = False,
) -> None:
    """Show the end of a box's log. Boxes are strangers' machines: it may say anything."""
    label, contract, ended = _find(box)
    text = _log_kept_here(label) if ended else ""
    if not text:
        from mediaflow.fleet.key import api_key
        from mediaflow.fleet.vast import Vast

        text = Vast(_settings(), api_key()).logs(contract, lines)
    said = [readable(line.expandtabs()) for line in text.splitlines()[-lines:]]
    if json:
        print_json({"box": label, "contract": contract, "lines": said})
    else:
        print("\n".join(said))


@fleet_app.command()
def doctor(json: Json = False) -> None:
    """Look for what renting lacks, and for boxes that nobody wants; status 3 when something needs you."""
    from mediaflow.cli.doctor import finding_json, print_finding
    from mediaflow.fleet.inspection import inspect

    findings = inspect(_settings()).findings
    well = all(finding.state != "problem" for finding in findings)
    if json:
        print_json({"ok": well, "findings": [finding_json(finding) for finding in findings]})
    else:
        for finding in findings:
            print_finding(finding)
    if not well:
        raise typer.Exit(3)


fleet_app.command()(simulate)


def _settings() -> Any:
    from mediaflow.fleet.settings import load_fleet

    return load_fleet()


def _state() -> dict[str, Any]:
    from mediaflow.fleet.ledger import open_ledger
    from mediaflow.fleet.state import fleet_state

    with closing(open_ledger()) as db:
        return fleet_state(db, _settings())


def _until_told() -> Stop:
    """Told by SIGTERM or Ctrl-C. Told again, it still ends the boxes first."""
    return Stop(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _log_kept_here(label: str) -> str:
    """What the gateway kept of what a box has said; the market has nothing of one that has ended."""
    from mediaflow.settings import home

    path = home() / "logs" / f"box-{label}.log"
    return path.read_text(errors="replace") if path.exists() else ""


def _find(name: str) -> tuple[str, int, bool]:
    """The label and contract of a box that was named, and whether it has ended. Raises UsageError."""
    from mediaflow.errors import UsageError
    from mediaflow.fleet.ledger import boxes, open_ledger

    with closing(open_ledger()) as db:
        known = boxes(db, ended_since=0)
    found = [
        box
        for box in known
        if name in (box.label, str(box.contract)) or (len(name) >= 4 and box.label.endswith(name))
    ]
    if len(found) != 1 or found[0].contract is None:
        what = (
            "no box" if not found else "more than one box" if len(found) > 1 else "a box without a contract"
        )
        raise UsageError(f"{readable(name)} names {what}: `mediaflow fleet status` shows them.")
    return found[0].label, found[0].contract, found[0].state == "ended"
