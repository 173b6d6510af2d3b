"""The commands that start and stop processes: `up`, `down`, `worker`, `dashboard`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from mediaflow.cli.output import note, print_json
from mediaflow.names import readable


def up(
    part: Annotated[
        str | None, typer.Argument(help="Only `queue`: the embedded Valkey without workers.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background.")] = False,
    while_waiting: Annotated[bool, typer.Option("--while-waiting", hidden=True)] = False,
) -> None:
    """Start the queue and the workers, and keep them running."""
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
    """Stop what `up` started; unfinished work is kept."""
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
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port on 127.0.0.1.")] = 9181,
) -> None:
    """Serve rq-dashboard, a page about the queues. Only this machine can open it."""
    from mediaflow.ops.dashboard import serve_dashboard
    from mediaflow.queues.connection import connect

    connect().close()
    serve_dashboard(port, lambda address: note(f"rq-dashboard is on {address} - Ctrl-C ends it."))


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Keep refreshing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Show queues, workers, runs and failures."""
    from contextlib import closing

    from mediaflow.catalog.database import connect as open_catalog
    from mediaflow.cli.status import print_status, watch_status
    from mediaflow.errors import UnreachableError
    from mediaflow.ops.overview import overview

    with closing(open_catalog()) as db:
        if watch:
            watch_status(db)
            return
        state = overview(db)
        if json:
            print_json(state)
        else:
            print_status(state)
    # An embedded queue that is not running is at rest; an outside one that does not answer is a fault.
    if not (state["redis"]["reachable"] or state["redis"]["embedded"]):
        url = readable(state["redis"]["url"])
        raise UnreachableError(f"{url} (MEDIAFLOW_REDIS_URL) does not answer: only the catalog is shown.")


commands = [up, down, status, worker, dashboard]
epilogs = {
    status: """\b
Exit status:
  0  the state is shown
  3  the queue that MEDIAFLOW_REDIS_URL names does not answer
"""
}
