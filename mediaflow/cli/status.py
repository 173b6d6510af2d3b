"""How `mediaflow status` looks."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from typing import Any

from mediaflow.catalog.locations import Scope
from mediaflow.cli.absence import NOTHING_SUBMITTED
from mediaflow.cli.output import console, counted, duration, print_table, when
from mediaflow.names import readable


def print_status(state: dict[str, Any]) -> None:
    """The whole state, in tables."""
    redis = state["redis"]
    kind = "embedded Valkey" if redis["embedded"] else redis["url"]
    absent = "not running (start it with: mediaflow up)" if redis["embedded"] else "does not answer"
    print(f"Queue: {kind}, {'reachable' if redis['reachable'] else absent}")
    if state["queues"]:
        rows = [[q["name"], q["waiting"], q["running"], q["failed"], q["workers"]] for q in state["queues"]]
        figures = ["waiting", "running", "failed", "workers"]
        print_table(["queue", *figures], rows, right=figures)
    if state["workers"]:
        print()
        # The gateway has dozens in one process, each of which stands in for a box.
        alike = Counter((w["queue"], w["pid"], w["host"], w["state"]) for w in state["workers"])
        rows = [
            [queue if count == 1 else f"{queue} ({count}x)", *rest] for (queue, *rest), count in alike.items()
        ]
        print_table(["worker", "pid", "host", "state"], rows)
    if state["refused"]:
        refused = counted(state["refused"], "malformed job")
        print(f"\n{refused} rejected (mediaflow failures --refused)")
    if state["runs"]:
        print()
        print_runs(state["runs"][:5])
    print()
    if "fleet" in state:
        from mediaflow.cli.fleet_show import print_fleet

        print_fleet(state["fleet"])
        print()
    for trouble in state["trouble"]:
        print(f"Waiting: {readable(trouble)}")
    if not state["runs"]:
        print(NOTHING_SUBMITTED)
    elif state["complete"]:
        print("Complete: everything that was submitted is done", end="")
    else:
        tasks = counted(state["open"], "task")
        print(f"{tasks} {'is' if state['open'] == 1 else 'are'} still to be done", end="")
    if state["runs"]:
        print(f", {state['failed']:,} failed (mediaflow failures)." if state["failed"] else ".")


def print_runs(states: list[dict[str, Any]]) -> None:
    """Runs in a table, as they come."""
    columns = ["run", "started", "took", "files", "new", "folder"]
    print_table(columns, [_run_row(run) for run in states], right=["run", "files", "new"], has_paths=True)


def _run_row(run: dict[str, Any]) -> list[Any]:
    took = duration(run["ended"] - run["started"]) if run["ended"] else ""
    folder = ", ".join(readable(root) for root in run["roots"])
    return [run["run"], when(run["started"]), took, f"{run['files']:,}", f"{run['new']:,}", folder]


def watch_status(db: sqlite3.Connection) -> None:
    """Live progress of everything that is open, until Ctrl-C."""
    from mediaflow.cli.progress import Meter, follow

    console(error=True).print("Ctrl-C ends this view; the work goes on.")
    libraries = [row[0] for row in db.execute("SELECT DISTINCT library FROM locations")] or ["default"]
    follow(Meter(db, [Scope(library) for library in libraries], time.time()), lambda _: False)
