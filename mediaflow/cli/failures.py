"""`mediaflow failures` and `mediaflow retry`: what did not work, why, and trying it again."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from mediaflow.cli.arguments import Json, Library, Paths, scope_of
from mediaflow.cli.output import note, print_item, print_json, when
from mediaflow.names import readable

if TYPE_CHECKING:
    import sqlite3

    from mediaflow.catalog.failures import Failure

OnlyTask = Annotated[str | None, typer.Option("--task", help="Only this task (or prepare).")]
OnlyReason = Annotated[str | None, typer.Option("--reason", help="Only with these words in the reason.")]


def failures(
    paths: Paths = None,
    task: OnlyTask = None,
    reason: OnlyReason = None,
    library: Library = "default",
    refused: Annotated[
        bool, typer.Option("--refused", help="Jobs that broke the rules, newest first, instead of files.")
    ] = False,
    json: Json = False,
) -> None:
    """List what failed, and why."""
    if refused:
        _print_refused(json)
        return
    found = _listed(paths, task, reason, library)
    if json:
        print_json(
            [
                {"path": f.path, "stage": f.stage, "reason": f.reason, "attempts": f.attempts, "last": f.last}
                for f in found
            ]
        )
        return
    if not found:
        print("Nothing failed.")
        return
    for failure in found:
        print_item(failure.path, f"{failure.stage}: {readable(failure.reason)} ({_outlook(failure)})")


def _outlook(failure: Failure) -> str:
    """How often it was tried, and whether it is tried again."""
    times = "once" if failure.attempts == 1 else f"{failure.attempts} times"
    if failure.due is None:
        return f"tried {times}, given up"
    again = f"again {when(failure.due)}" if failure.due > time.time() else "again now"
    return f"tried {times}, {again}" if failure.attempts else again


def _print_refused(json: bool) -> None:
    from dataclasses import asdict

    from mediaflow.queues.connection import connect
    from mediaflow.queues.refused import count, newest

    with closing(connect()) as connection:
        found, total = newest(connection), count(connection)
    if json:
        print_json([asdict(each) for each in found])
        return
    for each in found:
        print(f"{when(each.when)}  {each.queue}  {each.id}  {each.function}  {each.reason}")
    print(f"{total:,} jobs were refused." if total else "No job was refused.")


def retry(
    paths: Paths = None,
    task: OnlyTask = None,
    reason: OnlyReason = None,
    library: Library = "default",
    wait: Annotated[
        bool, typer.Option("--wait", help="Start what is not running, and wait until all is done.")
    ] = False,
    json: Json = False,
) -> None:
    """Try again what failed, also what was given up."""
    from mediaflow.catalog.database import connect as open_catalog
    from mediaflow.ops.retry import retry as enqueue_again
    from mediaflow.queues.connection import connect

    found = _listed(paths, task, reason, library)
    run = None
    with closing(open_catalog()) as db:
        if found and wait:
            run = _retry_and_wait(db, library, found)
        elif found:
            with closing(connect()) as connection:
                run = enqueue_again(db, connection, library, found)
    failed = len(_listed(paths, task, reason, library)) if wait else 0
    if json:
        print_json({"run": run, "failures": len(found)} | ({"failed": failed} if wait else {}))
    elif not found:
        note("Nothing failed.")
    elif wait:
        note(f"Run {run}: {len(found)} failures were tried again, {failed} are left (mediaflow failures).")
    else:
        note(f"Run {run}: {len(found)} failures are tried again. See: mediaflow status --watch")
    raise typer.Exit(1 if failed else 0)


def _retry_and_wait(db: sqlite3.Connection, library: str, found: list[Failure]) -> int:
    from mediaflow.catalog import runs
    from mediaflow.catalog.locations import Scope
    from mediaflow.cli.progress import Meter, QueueProgress, follow
    from mediaflow.ops.retry import retry as enqueue_again
    from mediaflow.ops.serving import Serving
    from mediaflow.settings import load_settings

    started = time.time()
    tasks = {failure.stage for failure in found} - {"prepare"}
    with Serving(sorted(tasks) or load_settings().default_tasks()) as serving:
        run = enqueue_again(db, serving.connect(), library, found)

        def finished(queues: list[QueueProgress]) -> bool:
            serving.check(queue.name for queue in queues if queue.open)
            return not any(queue.open for queue in queues)

        follow(Meter(db, [Scope(library)], started), finished)
    runs.end(db, run)
    return run


def _listed(paths: list[str] | None, task: str | None, reason: str | None, library: str) -> list[Failure]:
    from mediaflow.catalog.database import connect
    from mediaflow.catalog.failures import failures as listed

    with closing(connect()) as db:
        return listed(db, scope_of(paths, library), [task] if task else [], reason)


commands = [failures, retry]
