"""`mediaflow failures` and `mediaflow retry`: list failures with their reasons, dismiss them, try again."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from mediaflow.cli.arguments import Json, Library, Paths, scope_of
from mediaflow.cli.output import counted, note, print_item, print_json, when
from mediaflow.errors import UsageError
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
        bool, typer.Option("--refused", help="List rejected (malformed) jobs instead of files.")
    ] = False,
    dismiss: Annotated[
        bool, typer.Option("--dismiss", help="Stop listing, counting and retrying these.")
    ] = False,
    json: Json = False,
) -> None:
    """List what failed, and why."""
    if refused:
        if dismiss:
            raise UsageError("--dismiss is for failed files, --refused lists jobs: use one of them.")
        _print_refused(json)
        return
    found = _dismissed(paths, task, reason, library) if dismiss else _listed(paths, task, reason, library)
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
    elif dismiss:
        note(f"Dismissed {counted(len(found), 'failure')}. `mediaflow retry PATH` tries a file again.")
    else:
        for failure in found:
            print_item(failure.path, f"{failure.stage}: {readable(failure.reason)} ({_outlook(failure)})")
    hidden = 0 if dismiss else len(_listed(paths, task, reason, library, with_dismissed=True)) - len(found)
    if hidden:
        verb = "is" if hidden == 1 else "are"
        note(f"{counted(hidden, 'dismissed failure')} {verb} not listed (mediaflow retry PATH).")


def _dismissed(paths: list[str] | None, task: str | None, reason: str | None, library: str) -> list[Failure]:
    """Dismiss the failures that match; returns them."""
    from mediaflow.catalog.database import connect, transaction
    from mediaflow.catalog.failures import dismiss

    found = _listed(paths, task, reason, library)
    with closing(connect()) as db, transaction(db):
        dismiss(db, scope_of(paths, library), found)
    return found


def _outlook(failure: Failure) -> str:
    """How often it was tried, and whether it is tried again."""
    attempts = "one attempt" if failure.attempts == 1 else f"{failure.attempts} attempts"
    if failure.due is None:
        return f"gave up after {attempts}"
    again = f"next {when(failure.due)}" if failure.due > time.time() else "next now"
    return f"{attempts}, {again}" if failure.attempts else again


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
    verb = "was" if total == 1 else "were"
    print(f"{counted(total, 'job')} {verb} refused." if total else "No job was refused.")


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
    """Try failed files again, also those that were given up; dismissed ones where a PATH names them."""
    from mediaflow.catalog.database import connect as open_catalog
    from mediaflow.ops.gone import mark_gone_failures
    from mediaflow.ops.retry import retry as enqueue_again
    from mediaflow.queues.connection import connect

    with closing(open_catalog()) as db:
        mark_gone_failures(db, library)
    found = _listed(paths, task, reason, library, with_dismissed=bool(paths))
    run = None
    with closing(open_catalog()) as db:
        if found and not json:
            note(f"Retrying {counted(len(found), 'failure')}.")
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
        note(f"Done: {counted(failed, 'failure')} left{' (mediaflow failures)' if failed else ''}.")
    else:
        note(f"Run {run}; see: mediaflow status --watch")
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


def _listed(
    paths: list[str] | None,
    task: str | None,
    reason: str | None,
    library: str,
    *,
    with_dismissed: bool = False,
) -> list[Failure]:
    from mediaflow.catalog.database import connect
    from mediaflow.catalog.failures import failures as listed

    with closing(connect()) as db:
        scope = scope_of(paths, library)
        return listed(db, scope, [task] if task else [], reason, with_dismissed=with_dismissed)


commands = [failures, retry]
