"""Healing: what the ledger wants and no job will do is enqueued again, and so is what is due again."""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from redis import Redis

from mediaflow.catalog import failures, undone, work
from mediaflow.catalog.database import transaction
from mediaflow.catalog.locations import Scope
from mediaflow.catalog.undone import Undone
from mediaflow.fleet import distrust
from mediaflow.ops.plan import plan_for
from mediaflow.ops.submit import enqueue_files
from mediaflow.queues.recovery import Reclaimed, Reclaimer, live_jobs
from mediaflow.settings import all_queues, load_settings

# A job that is in no queue may be on its way into one: it is lost when it is missing for so long,
# by a clock that nobody sets.
MISSING_SECONDS = 15.0


@dataclass(slots=True)
class Healer:
    """Looks after the queues of one catalog, again and again."""

    missing_seconds: float = MISSING_SECONDS
    _reclaimer: Reclaimer = field(default_factory=lambda: Reclaimer(all_queues()), init=False)
    _missing: dict[str, float] = field(default_factory=dict, init=False)

    def reclaim(self, db: sqlite3.Connection, connection: Redis) -> Reclaimed:
        """Put jobs of workers that ended back into their queues; list what took down several."""
        reclaimed = self._reclaimer.look(connection)
        for job in reclaimed.given_up:
            with transaction(db):
                failures.give_up(db, job, "the worker ended again and again while it had this in hand")
        return reclaimed

    def heal(self, db: sqlite3.Connection, connection: Redis) -> int:
        """Enqueue what is lost or due again; returns how many files."""
        distrust.tell(db)
        due, lost = undone.due(db), undone.lost(db, self._lost(db, connection))
        # What has failed before may take a worker along: it has a job of its own.
        enqueue_undone(db, connection, due, together=1)
        enqueue_undone(db, connection, lost, together=load_settings().prepare.batch)
        return len(due) + len(lost)

    def _lost(self, db: sqlite3.Connection, connection: Redis) -> list[str]:
        """The jobs that the ledger waits for and that have been in no queue for a while."""
        waited_for = work.jobs(db)
        # Asked after the ledger: what is enqueued meanwhile is not missed.
        live = live_jobs(connection, all_queues()) if waited_for else None
        missing = {job for job in waited_for if live is not None and not live.awaits(job)}
        now = time.monotonic()
        self._missing = {job: self._missing.get(job, now) for job in missing}
        return [job for job, since in self._missing.items() if now - since >= self.missing_seconds]


def heal(db: sqlite3.Connection, connection: Redis) -> int:
    """Take back what dead workers had, enqueue what is lost or due; returns how many files. Looks twice."""
    healer = Healer(missing_seconds=1.0)
    healer.reclaim(db, connection)
    count = healer.heal(db, connection)
    time.sleep(healer.missing_seconds)
    return count + healer.heal(db, connection)


def enqueue_undone(db: sqlite3.Connection, connection: Redis, files: Iterable[Undone], together: int) -> None:
    """Enqueue files in their runs for what of them is not done, `together` in a job."""
    tasks_of: dict[tuple[str, int, bytes], set[str]] = defaultdict(set)
    for file in files:
        tasks_of[file.library, file.run, file.path].update(file.tasks)
    alike: dict[tuple[str, int, tuple[str, ...]], list[bytes]] = defaultdict(list)
    for (library, run, path), tasks in tasks_of.items():
        named = tuple(task for task in load_settings().tasks if task in tasks)
        if named:  # else its tasks are not in the settings any more
            alike[library, run, named].append(path)
    for (library, run, named), paths in alike.items():
        plan = plan_for(Scope(library, tuple(paths)), named)
        enqueue_files(db, lambda: connection, plan, run, together)
