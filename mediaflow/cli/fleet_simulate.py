"""`mediaflow fleet simulate`: the market of boxes, played."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from mediaflow.cli.arguments import Json
from mediaflow.cli.output import note, print_json, print_table

# What a month comes to, in words.
WORDS = {
    "policy": "policy",
    "seed": "seed",
    "days": "days",
    "runs": "runs",
    "files": "files",
    "boxes": "boxes rented",
    "spend": "spent, $",
    "lower_bound": "the least it could have cost, $",
    "ratio": "ratio of both",
    "within_deadline": "runs done in time, share",
    "wait_p95_s": "95 % of runs done within, s",
    "leaked_box_hours": "hours of boxes nobody knew of",
    "cap_violations": "caps broken",
    "unfinished": "runs never done",
}

# Options that mean something to the server only, and to a month only.
SERVED = ("port", "key", "haste", "credit", "box")
PLAYED = ("days", "policy")


def simulate(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, help="How many days to play.")] = 30,
    policy: Annotated[
        str, typer.Option(help="deadline, always-on, cheapest-offer or box-per-backlog.")
    ] = "deadline",
    seed: Annotated[int, typer.Option(help="Another seed is another market and another month.")] = 1,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="usual, none, or NAME[=TIMES]; several may be given. A month has the usual ones."),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Be a server that speaks Vast.ai's interface, without faults.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The server's port on 127.0.0.1; 0 is any free one.")
    ] = 0,
    key: Annotated[str, typer.Option(help="The API key that the server wants.")] = "simulated",
    haste: Annotated[
        float,
        typer.Option(min=1, help="How many times faster its boxes load, and calls may follow one another."),
    ] = 60.0,
    credit: Annotated[float, typer.Option(help="Dollars on its account.")] = 100.0,
    box: Annotated[str, typer.Option(help="The command of a box, if another than mediaflow's.")] = "",
    json: Json = False,
) -> None:
    """Play the market of boxes: a month of it in simulated time, or as a server."""
    from mediaflow.fleet.simulator.faults import read_faults

    if not serve:
        _refuse(context, SERVED, "is for the server: only with --serve")
        _month(days, policy, seed, fault, json)
        return
    _refuse(context, PLAYED, "is for a month: only without --serve")
    from mediaflow.fleet.simulator.processes import BOX
    from mediaflow.fleet.simulator.serve import serve as serve_market

    def ready(url: str) -> None:
        if json:
            print_json({"url": url, "key": key})
            sys.stdout.flush()
        note(f"The market is at {url}: VAST_URL={url} VAST_API_KEY={key} - Ctrl-C ends it.")

    usual, forced = read_faults(fault or [])
    command = shlex.split(box) or BOX
    serve_market(
        port,
        seed,
        usual=usual,
        forced=forced,
        haste=haste,
        credit=credit,
        key=key,
        command=command,
        ready=ready,
    )


def _refuse(context: typer.Context, names: Sequence[str], why: str) -> None:
    """Raises UsageError where one of these options was given."""
    from mediaflow.errors import UsageError

    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name} {why}.")


def _month(days: int, policy: str, seed: int, fault: list[str] | None, json: bool) -> None:
    """Play a month with the settings of the fleet, as if it were enabled, and say what it came to."""
    from mediaflow.errors import UsageError
    from mediaflow.fleet.policies import POLICIES
    from mediaflow.fleet.settings import load_fleet
    from mediaflow.fleet.simulator.faults import read_faults
    from mediaflow.fleet.simulator.month import simulate as simulate_month

    if policy not in POLICIES:
        raise UsageError(f"There is no policy {policy!r}: {', '.join(POLICIES)}.")
    settings = load_fleet().model_copy(update={"enabled": True})
    usual, forced = read_faults(fault or ["usual"])
    with _Progress(days) as progress:
        month = simulate_month(
            seed, days, policy, settings, usual=usual, forced=forced, progress=progress.show
        )
    report = month.report.json()
    if json:
        print_json(report)
        return
    print_table(
        ["", "value"], [[words, shown(name, report[name])] for name, words in WORDS.items()], right=["value"]
    )


class _Progress:
    """A line on a terminal's standard error that says how far the month is."""

    def __init__(self, days: int) -> None:
        self._days = days
        self._shown = -1

    def __enter__(self) -> _Progress:
        return self

    def show(self, part: float) -> None:
        """Say it, when a day has passed."""
        if sys.stderr.isatty() and (day := int(part * self._days)) != self._shown:
            self._shown = day
            sys.stderr.write(f"\rday {day} of {self._days} ")
            sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._shown >= 0:
            sys.stderr.write("\r\x1b[K")


def shown(name: str, value: object) -> str:
    """A value of a month's report, for people."""
    if value is None:
        return "never" if name == "wait_p95_s" else "-"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
