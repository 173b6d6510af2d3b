"""`mediaflow submit`: hand folders to the workers, and wait for them if told to."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from mediaflow.cli.output import counted, duration, note, print_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from redis import Redis

    from mediaflow.catalog.runs import Count
    from mediaflow.ops.plan import Plan


def submit(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Folders or files.")],
    tasks: Annotated[str | None, typer.Option(help="Only these tasks, as a,b,c.")] = None,
    library: Annotated[str, typer.Option(help="The library they belong to.")] = "default",
    wait: Annotated[
        bool, typer.Option("--wait", help="Start what is not running, and wait until all is done.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be enqueued.")] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Leave out names or paths.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Analyse the files in folders: enqueue what is new, changed, or lacks a task."""
    from mediaflow.catalog.database import connect as open_catalog
    from mediaflow.ops import plan as planning
    from mediaflow.ops import submit as submitting
    from mediaflow.ops.lock import Lock

    named = [task.strip() for task in tasks.split(",") if task.strip()] if tasks is not None else None
    plan = planning.plan(paths, library, named, exclude or [])
    with closing(open_catalog()) as db:
        submitting.refuse_emptied(db, plan)
        if dry_run:
            _say_dry_run(*submitting.dry_run(db, plan), json)
            return
        planning.check_models(plan)
        with Lock(planning.lock_name(plan)) as lock:
            if not lock.taken:
                _say_overlap(db, lock.holder, json)
                return
            if wait:
                raise typer.Exit(_submit_and_wait(db, plan, json))
            _submit(db, plan, json)


def _submit(db: sqlite3.Connection, plan: Plan, json: bool) -> None:
    from mediaflow.queues.connection import connect

    connection = connect()
    run, count = _enqueue(db, lambda: connection, plan)
    if json:
        print_json({"run": run, "files": count.files, "new": count.new, "known": count.known})
        return
    _say_count(run, count, plan)
    unserved = _queues_without_workers(connection, plan)
    if unserved:
        note(f"No worker serves {', '.join(unserved)}: start them with `mediaflow up`.")


def _submit_and_wait(db: sqlite3.Connection, plan: Plan, json: bool) -> int:
    """Start the missing processes, submit, wait, stop them; returns the exit status.

    It is 1 for failures of this run only: older ones are told.
    """
    from mediaflow.catalog import runs, work
    from mediaflow.catalog.failures import failures
    from mediaflow.cli.progress import Meter, QueueProgress, follow
    from mediaflow.ops.gone import mark_gone_failures
    from mediaflow.ops.serving import Serving

    mark_gone_failures(db, plan.scope.library)
    started = time.time()
    before = set(failures(db, plan.scope))
    with Serving(plan.tasks) as serving:
        run, count = _enqueue(db, serving.connect, plan)
        if not json:
            _say_count(run, count, plan)

        def finished(queues: list[QueueProgress]) -> bool:
            serving.check(queue.name for queue in queues if queue.open)
            return not any(queue.open for queue in queues)

        if work.open_tasks(db, plan.scope):
            serving.connect()
            try:
                follow(Meter(db, [plan.scope], started), finished)
            except KeyboardInterrupt:
                note("Stopping. Nothing is lost: submit again, and it goes on from here.")
                raise
    runs.end(db, run)
    done = work.tally(db, plan.scope)["done"]
    found = failures(db, plan.scope)
    old = before & set(found)
    failed = len({failure.path for failure in found if failure not in old})
    seconds = round(time.time() - started, 1)
    if json:
        answer = {"run": run, "files": count.files, "new": count.new, "known": count.known}
        print_json(answer | {"done": done, "failed": failed, "seconds": seconds})
    else:
        verb = "is" if done == 1 else "are"
        note(f"Done in {duration(seconds)}: {counted(done, 'file')} {verb} searchable, {failed:,} failed.")
        if failed:
            note("`mediaflow failures` says why.")
        if old:
            note(f"{counted(len(old), 'older failure')}: mediaflow failures")
    return 1 if failed else 0


def _enqueue(db: sqlite3.Connection, connect: Callable[[], Redis], plan: Plan) -> tuple[int, Count]:
    from mediaflow.catalog import runs
    from mediaflow.catalog.database import transaction
    from mediaflow.ops.submit import submit

    with transaction(db):
        run = runs.begin(db, plan.scope.library, plan.scope.roots, plan.tasks)
    count = submit(db, connect, plan, run)
    for problem in plan.problems:
        note(problem)
    return run, count


def _say_count(run: int, count: Count, plan: Plan) -> None:
    skipped = sum(count.skipped.values())
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in count.skipped.most_common(4))
    tasks = ", ".join(plan.tasks)
    note(f"Run {run}: {count.files:,} files, {count.new:,} new, {count.known:,} known; tasks {tasks}.")
    if skipped:
        note(f"Skipped {skipped:,}: {reasons}{', …' if len(count.skipped) > 4 else ''}.")
    if count.gone:
        note(f"{count.gone:,} files are not there any more. Their findings are kept (mediaflow forget).")


def _say_dry_run(count: Count, lacking: int, json: bool) -> None:
    if json:
        print_json({"files": count.files, "new": count.new, "known": count.known, "lacking": lacking})
        return
    print(f"{count.files:,} files: {count.new:,} new, {count.known:,} known, {lacking:,} lack a task.")
    for reason, number in count.skipped.most_common():
        print(f"  skipped {number:,}: {reason}")
    print("Nothing was enqueued.")


def _say_overlap(db: sqlite3.Connection, pid: int | None, json: bool) -> None:
    from mediaflow.catalog import runs

    running = next((run for run in runs.newest(db, 50) if run["pid"] == pid), None)
    number = running["id"] if running else None
    if json:
        print_json({"run": number, "files": 0, "new": 0, "known": 0, "done": 0, "failed": 0, "seconds": 0.0})
    note(f"Run {number} (pid {pid}) is submitting the same now: nothing to do. See: mediaflow status --watch")


def _queues_without_workers(connection: Redis, plan: Plan) -> list[str]:
    from mediaflow.queues.overview import served_queues

    served = served_queues(connection)
    return [queue for queue in ("prepare", *plan.tasks, "index") if queue not in served]


commands = [submit]
