"""The commands that start and stop processes: `up`, `down`, `worker`, `dashboard`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from mediaflow.cli.output import note, print_json


def up(
    part: Annotated[
        str | None, typer.Argument(help="Only `queue`: the embedded Valkey without workers.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background.")] = False,
    while_waiting: Annotated[bool, typer.Option("--while-waiting", hidden=True)] = False,
) -> None:
    """Start the embedded queue and the workers, and keep them running."""
    from mediaflow.errors import UsageError
    from mediaflow.ops.running import is_up, start_detached, to_take_down
    from mediaflow.ops.up import Supervisor

    if part not in (None, "queue"):
        raise UsageError(f"There is no part {part!r}: `mediaflow up`, or `mediaflow up queue`.")
    if not detach:
        Supervisor(note, queue_only=part == "queue", while_waiting=while_waiting).run()
        return
    if pid := is_up():
        to_take_down().unlink(missing_ok=True)  # one that a submit started goes on after it
        note(f"mediaflow is up already (pid {pid}).")
        return
    note(f"mediaflow is up (pid {start_detached()}). `mediaflow down` stops it.")


def down() -> None:
    """Stop what `up` started, in order, losing nothing."""
    from mediaflow.fleet.state import left_alone
    from mediaflow.ops.running import stop_running

    note("Stopped." if stop_running() else "mediaflow is not up.")
    if left := left_alone():
        note(f"But {left}.")
        raise typer.Exit(3)


def worker(
    queue: Annotated[str, typer.Argument(help="The queue to serve: prepare, index, or a task.")],
) -> None:
    """Run one worker for one queue, in the foreground."""
    # The worker's code is not imported here: the command line stays light and knows it by name only.
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    os.execve(sys.executable, [sys.executable, "-m", "workers", queue], os.environ | {"PYTHONPATH": path})


def dashboard(
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.")] = 9181,
) -> None:
    """Show the queues in a browser (rq-dashboard, on this machine only)."""
    from mediaflow.ops.dashboard import serve_dashboard
    from mediaflow.queues.connection import connect

    connect().close()
    note(f"rq-dashboard is on http://127.0.0.1:{port} - Ctrl-C ends it.")
    serve_dashboard(port)


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Show queues, workers, runs and failures."""
    from contextlib import closing

    from mediaflow.catalog.database import connect as open_catalog
    from mediaflow.cli.status import print_status, watch_status
    from mediaflow.ops.overview import overview

    with closing(open_catalog()) as db:
        if watch:
            watch_status(db)
        elif json:
            print_json(overview(db))
        else:
            print_status(overview(db))


commands = [up, down, status, worker, dashboard]
