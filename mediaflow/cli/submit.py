"""`mediaflow submit`: hand folders to the workers, and wait for them if told to."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mediaflow.cli.arguments import Json, Library
from mediaflow.cli.output import counted, duration, note, print_json
from mediaflow.names import readable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from redis import Redis

    from mediaflow.catalog.runs import Count
    from mediaflow.ops.plan import Plan


def submit(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Folders or files.")],
    tasks: Annotated[str | None, typer.Option(help="Only these tasks, as a,b,c.")] = None,
    library: Library = "default",
    wait: Annotated[
        bool, typer.Option("--wait", help="Start what is not running, and wait until all is done.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be analysed, and stop.")
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Skip files and folders matching GLOB (repeatable)."),
    ] = None,
    json: Json = False,
) -> None:
    """Analyse the files in folders: enqueue what is new, changed, or lacks a task."""
    from mediaflow.catalog.database import catalog_path
    from mediaflow.catalog.database import connect as open_catalog
    from mediaflow.ops import plan as planning
    from mediaflow.ops import submit as submitting
    from mediaflow.ops.lock import Lock

    named = [task.strip() for task in tasks.split(",") if task.strip()] if tasks is not None else None
    plan = planning.plan(paths, library, named, exclude or [])
    # A dry run leaves nothing behind, so it makes no catalog either.
    nothing_known = dry_run and not catalog_path().exists()
    with closing(open_catalog(Path(":memory:") if nothing_known else None)) as db:
        submitting.leave_out_emptied(db, plan)
        if dry_run:
            _say_dry_run(*submitting.dry_run(db, plan), plan, json)
            _tell(plan)
            raise typer.Exit(1 if plan.problems else 0)
        planning.check_models(plan)
        with Lock(planning.lock_name(plan)) as lock:
            if not lock.taken:
                _say_overlap(db, lock.holder, json)
                return
            raise typer.Exit(_submit_and_wait(db, plan, json) if wait else _submit(db, plan, json))


def _submit(db: sqlite3.Connection, plan: Plan, json: bool) -> int:
    """Enqueue and return at once; returns the exit status."""
    from mediaflow.queues.connection import connect

    connection = connect()
    run, count = _enqueue(db, lambda: connection, plan)
    if json:
        print_json(_as_json(run, count, plan))
    else:
        _say_count(run, count, plan)
        if unserved := _queues_without_workers(connection, plan):
            note(f"No worker serves {', '.join(unserved)}: start them with `mediaflow up`.")
    return 1 if plan.problems else 0


def _submit_and_wait(db: sqlite3.Connection, plan: Plan, json: bool) -> int:
    """Start the missing processes, submit, wait, stop them; returns the exit status.

    It is 1 for failures of this run only: older ones are told.
    """
    from mediaflow.catalog import locations, runs, work
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
    no_media = locations.skipped_in(db, run)
    count.endings += no_media
    if json:
        answer = _as_json(run, count, plan)
        print_json(answer | {"done": done, "failed": failed, "seconds": seconds})
    else:
        verb = "is" if done == 1 else "are"
        note(f"Done in {duration(seconds)}: {counted(done, 'file')} {verb} searchable, {failed:,} failed.")
        if no_media:
            note(f"Skipped, not media: {_by_kind(no_media)}.")
        if warned := locations.warned_in(db, run):
            note(f"{counted(warned, 'file')} with a warning: mediaflow list --warnings")
        if failed:
            note("`mediaflow failures` says why.")
        if old:
            note(f"{counted(len(old), 'older failure')}: mediaflow failures")
    return 1 if failed or plan.problems else 0


def _enqueue(db: sqlite3.Connection, connect: Callable[[], Redis], plan: Plan) -> tuple[int, Count]:
    from mediaflow.catalog import runs
    from mediaflow.catalog.database import transaction
    from mediaflow.ops.submit import submit

    with transaction(db):
        run = runs.begin(db, plan.scope.library, plan.scope.roots, plan.tasks)
    count = submit(db, connect, plan, run)
    _tell(plan)
    return run, count


def _tell(plan: Plan) -> None:
    for problem in plan.problems:
        note(f"{readable(problem.path)} {problem.reason}")
    for remark in plan.remarks:
        note(remark)


def _as_json(run: int, count: Count, plan: Plan) -> dict[str, object]:
    """The answer; `skipped`, `endings` and `problems` only where there are any."""
    answer: dict[str, object] = {"run": run, "files": count.files, "new": count.new, "known": count.known}
    skipped = {"skipped": dict(count.skipped), "endings": dict(count.endings)}
    return answer | {key: value for key, value in skipped.items() if value} | _problems(plan)


def _problems(plan: Plan) -> dict[str, object]:
    problems = [{"path": problem.path, "reason": problem.reason} for problem in plan.problems]
    return {"problems": problems} if problems else {}


def _say_count(run: int, count: Count, plan: Plan) -> None:
    tasks = ", ".join(plan.tasks)
    files = counted(count.files, "file")
    note(f"Run {run}: {files}, {count.new:,} new, {count.known:,} known; tasks {tasks}.")
    for line in _skipped(count):
        note(line)
    if count.gone:
        has = "has" if count.gone == 1 else "have"
        its = "its" if count.gone == 1 else "their"
        note(
            f"{counted(count.gone, 'file')} {has} disappeared;"
            f" {its} results are kept until `mediaflow forget --gone`."
        )


def _skipped(count: Count) -> list[str]:
    """What was skipped: by ending what is not supported, by reason all else."""
    lines = []
    if count.endings:
        lines.append(f"Skipped, not supported: {_by_kind(count.endings)}.")
    if others := count.skipped - Counter({"unsupported": count.skipped["unsupported"]}):
        lines.append(f"Skipped for other reasons: {_by_kind(others)}.")
    return lines


def _by_kind(kinds: Counter[str]) -> str:
    """As `12 .pdf, 3 .docx`, the most first; a long tail is summed up."""
    shown = kinds.most_common(8)
    rest = sum(kinds.values()) - sum(number for _, number in shown)
    parts = [f"{number:,} {readable(kind)}" for kind, number in shown]
    return ", ".join(parts + ([f"{rest:,} others"] if rest else []))


def _say_dry_run(count: Count, lacking: int, plan: Plan, json: bool) -> None:
    if json:
        answer = {"files": count.files, "new": count.new, "known": count.known, "lacking": lacking}
        print_json(answer | _problems(plan))
        return
    files = counted(count.files, "file")
    print(f"{files}: {count.new:,} new, {count.known:,} known, {lacking:,} incomplete.")
    for line in _skipped(count):
        print(line)
    print("Dry run: nothing was queued.")


def _say_overlap(db: sqlite3.Connection, pid: int | None, json: bool) -> None:
    from mediaflow.catalog import runs

    running = next((run for run in runs.newest(db, 50) if run["pid"] == pid), None)
    number = running["id"] if running else None
    if json:
        print_json({"run": number, "files": 0, "new": 0, "known": 0, "done": 0, "failed": 0, "seconds": 0.0})
    note(
        f"These folders are being processed by run {number} (pid {pid}); not started again."
        " See: mediaflow status --watch"
    )


def _queues_without_workers(connection: Redis, plan: Plan) -> list[str]:
    from mediaflow.queues.overview import served_queues

    served = served_queues(connection)
    return [queue for queue in ("prepare", *plan.tasks, "index") if queue not in served]


commands = [submit]
