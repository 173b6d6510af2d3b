"""Submit: walk folders, compare with the catalog, enqueue files that are new, changed or lack a task.

No file is opened: path, size and modification time decide whether a file is known.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator

from redis import Redis

from mediaflow.catalog import locations, runs, work
from mediaflow.catalog.database import transaction
from mediaflow.catalog.locations import Candidate, Scope
from mediaflow.errors import UsageError
from mediaflow.media.times import time_warning
from mediaflow.media.walk import Folder, walk
from mediaflow.names import readable
from mediaflow.ops.plan import Plan, Problem, told
from mediaflow.queues.jobs import PREPARE, NewJob, enqueue
from mediaflow.queues.lineage import Live, new_id
from mediaflow.queues.recovery import live_jobs
from mediaflow.settings import all_queues, home, load_settings

# Files are entered in the catalog in pieces of this many, one transaction each.
PIECE = 2048


def leave_out_emptied(db: sqlite3.Connection, plan: Plan) -> None:
    """Take the roots out of the plan that held files when last seen and hold none now; they are problems.

    An unmounted disk looks like that, and must not be taken for a deletion. Raises
    UsageError when no root is left.
    """
    filled = [root for root in plan.scope.roots if not _is_emptied(db, plan, root)]
    if not filled:
        raise UsageError(
            told(plan.problems, "Nothing was changed. If the files are really gone: mediaflow forget PATH.")
        )
    plan.scope = Scope(plan.scope.library, tuple(filled))


def _is_emptied(db: sqlite3.Connection, plan: Plan, root: bytes) -> bool:
    known = locations.count(db, Scope(plan.scope.library, (root,)))
    if not known:
        return False
    for folder in _walk(Plan(Scope("", (root,)), [], {})):
        if folder.files or folder.errors:  # the walk itself reports unreadable folders
            return False
    files = "1 file of it is" if known == 1 else f"{known:,} files of it are"
    plan.problems.append(Problem(os.fsdecode(root), f"is empty now, but {files} known: is its disk mounted?"))
    return True


def _walk(plan: Plan) -> Iterator[Folder]:
    # Renditions are pictures too: a home inside a root must not be taken for media.
    return walk([os.fsdecode(root) for root in plan.scope.roots], plan.exclude, {os.fsencode(home())})


def _counted(plan: Plan, count: runs.Count) -> Iterator[Folder]:
    """The folders of the plan, counted; what could not be read, and patterns without a match, are noted."""
    matched: set[str] = set()
    for folder in _walk(plan):
        count.files += len(folder.files)
        count.skipped.update(folder.skipped)
        count.endings.update(folder.endings)
        matched |= folder.excluded_by
        plan.problems += [
            Problem(os.fsdecode(path), f"could not be read: {reason}") for path, reason in folder.errors
        ]
        yield folder
        plan.on_folder(count)
    plan.remarks += [f"--exclude {glob} matched nothing." for glob in plan.exclude if glob not in matched]


def submit(db: sqlite3.Connection, connect: Callable[[], Redis], plan: Plan, run: int) -> runs.Count:
    """Enqueue files under the plan's roots that are new, changed or lack a task; returns the counts.

    `connect` is called when there is something to enqueue or to ask the queues about, and only then:
    a folder in which nothing has changed needs no queue.
    """
    live = _Live(connect)
    count = runs.Count()
    gatherer = _Gatherer(db, connect, plan, run, load_settings().prepare.batch)
    seen: set[bytes] = set()
    for folder in _counted(plan, count):
        seen.add(folder.path)
        gatherer.take(_compare(db, plan, folder, live, count))
    gatherer.flush()
    for vanished in set(locations.folders(db, plan.scope)) - seen:
        count.gone += _mark_gone(
            db, plan.scope.library, vanished, locations.known_in(db, plan.scope.library, vanished)
        )
    _enqueue_lacking(db, live, plan, gatherer)
    count.known = count.files - count.new
    with transaction(db):
        runs.counted(db, run, count)
    return count


def dry_run(db: sqlite3.Connection, plan: Plan) -> tuple[runs.Count, int]:
    """The counts of a submit, and the number of known files that lack a task; without changes and queue."""
    count = runs.Count()
    for folder in _counted(plan, count):
        known = locations.known_in(db, plan.scope.library, folder.path)
        for file in folder.files:
            row = known.get(file.name)
            count.new += row is None or (row.size, row.mtime_ns) != (file.size, file.mtime_ns)
    count.known = count.files - count.new
    return count, len(work.lacking(db, plan.scope, plan.models, plan.texts, lambda _: True))


def _compare(
    db: sqlite3.Connection, plan: Plan, folder: Folder, live: _Live, count: runs.Count
) -> list[Candidate]:
    """The files of a folder that must be prepared. Marks missing and returned files."""
    known = locations.known_in(db, plan.scope.library, folder.path)
    candidates, back = [], []
    for file in folder.files:
        row = known.pop(file.name, None)
        warning = time_warning(file.mtime_ns)
        if warning and (row is None or row.mtime_ns != file.mtime_ns):
            plan.remarks.append(f"{readable(os.path.join(folder.path, file.name))}: {warning}.")
        if row is None:
            count.new += 1
            candidates.append(Candidate(folder.path, *file, None, folder.root))
        elif (row.size, row.mtime_ns) != (file.size, file.mtime_ns):
            count.new += 1
            candidates.append(Candidate(folder.path, *file, row.changed, folder.root))
        elif row.settled() or row.job in live:
            if row.gone:
                back.append(file.name)
        else:
            candidates.append(Candidate(folder.path, *file, row.changed, folder.root))
    if back:
        with transaction(db):
            locations.mark_back(db, plan.scope.library, folder.path, back)
    if folder.whole and known:
        count.gone += _mark_gone(db, plan.scope.library, folder.path, known)
    return candidates


def _mark_gone(
    db: sqlite3.Connection, library: str, folder: bytes, known: dict[bytes, locations.Known]
) -> int:
    # Not listed is not gone: the file may be excluded or passed over this time.
    names = [name for name, row in known.items() if not row.gone and _is_gone(os.path.join(folder, name))]
    if not names:
        return 0
    with transaction(db):
        return locations.mark_gone(db, library, folder, names)


def _is_gone(path: bytes) -> bool:
    """Whether the path does not exist; an unreadable disk or folder is no proof of it."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _enqueue_lacking(db: sqlite3.Connection, live: _Live, plan: Plan, gatherer: _Gatherer) -> None:
    """Enqueue prepared files that lack a task, also those whose job was lost."""
    if not work.lacking(db, plan.scope, plan.models, plan.texts, lambda _: False):
        return
    # Read again, after the ledger: a job that was enqueued meanwhile must not be taken for lost.
    now = live.now()
    gatherer.take(work.lacking(db, plan.scope, plan.models, plan.texts, now.awaits))
    gatherer.flush()


class _Live:
    """The jobs that wait or run now; asked for when first needed."""

    def __init__(self, connect: Callable[[], Redis]) -> None:
        self._connect = connect
        self._jobs: Live | None = None

    def __contains__(self, job: object) -> bool:
        if self._jobs is None:
            self._jobs = self.now()
        return job in self._jobs

    def now(self) -> Live:
        return live_jobs(self._connect(), all_queues())


def enqueue_files(
    db: sqlite3.Connection, connect: Callable[[], Redis], plan: Plan, run: int, together: int
) -> None:
    """Enqueue the files that the plan's scope names, known to the catalog, `together` in a job; no walk."""
    gatherer = _Gatherer(db, connect, plan, run, together)
    gatherer.take(locations.candidates(db, plan.scope.library, plan.scope.roots))
    gatherer.flush()


class _Gatherer:
    """Gathers candidates across folders and enqueues them, `together` in a job."""

    def __init__(
        self, db: sqlite3.Connection, connect: Callable[[], Redis], plan: Plan, run: int, together: int
    ) -> None:
        self.db, self.connect, self.plan, self.run, self.together = db, connect, plan, run, together
        self._open: list[Candidate] = []

    def take(self, candidates: list[Candidate]) -> None:
        self._open += candidates
        while len(self._open) >= PIECE:
            self._enqueue(self._open[:PIECE])
            del self._open[:PIECE]

    def flush(self) -> None:
        self._enqueue(self._open)
        self._open = []

    def _enqueue(self, files: list[Candidate]) -> None:
        jobs = []
        with transaction(self.db):
            for first in range(0, len(files), self.together):
                job = new_id(self.run, "prepare")
                part = files[first : first + self.together]
                ids = locations.enqueue(self.db, self.plan.scope.library, self.run, job, part)
                if ids:
                    names = ", ".join(readable(file.name) for file in part[:3])
                    more = ", …" if len(part) > 3 else ""
                    what = f"{len(ids)} files for {', '.join(self.plan.tasks)}"
                    description = f"prepare(run {self.run}): {what}: {names}{more}"
                    jobs.append(NewJob(job, PREPARE, (self.run, ids, self.plan.tasks), description))
        # After the catalog knows of them: a job that is lost here is found lost by the next submit.
        if jobs:
            enqueue(self.connect(), "prepare", jobs)
