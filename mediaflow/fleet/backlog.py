"""The backlog: what waits to be done and may be done on boxes, and until when it should be."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from mediaflow.fleet.items import ItemsPerFile, items_per_file, kind_of_name
from mediaflow.fleet.settings import FleetSettings
from mediaflow.queues.lineage import is_at_home

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Items of one task with one deadline (Unix seconds): `ready` to be worked on, `coming` out of prepare.

    Items in somebody's hands are ready too: they are not done. `since` is when they were submitted.
    """

    task: str
    ready: int
    deadline: float
    since: float
    coming: int = 0

    @property
    def items(self) -> int:
        """All of them."""
        return self.ready + self.coming


@dataclass(frozen=True, slots=True)
class Backlog:
    """All that waits. `files` are files still before prepare, by deadline.

    `current`: it was read now; else the catalog cannot be read, and this is how it was.
    """

    waiting: tuple[Waiting, ...] = ()
    files: Mapping[float, int] | None = None
    current: bool = True

    def deadlines(self) -> list[float]:
        """The deadlines, the next one first."""
        return sorted({each.deadline for each in self.waiting if each.items})

    def until(self, deadline: float, *, ready: bool = False) -> dict[str, int]:
        """Items by task that are due by `deadline`; with `ready` only those that can be worked on now."""
        counts: dict[str, int] = {}
        for each in self.waiting:
            if each.deadline <= deadline and (each.ready if ready else each.items):
                counts[each.task] = counts.get(each.task, 0) + (each.ready if ready else each.items)
        return counts

    def total(self, *, ready: bool = False) -> dict[str, int]:
        """Items by task, whenever they are due."""
        return self.until(float("inf"), ready=ready)

    def unprepared(self, deadline: float) -> int:
        """Files before prepare that are due by `deadline`."""
        return sum(count for due, count in (self.files or {}).items() if due <= deadline)


def read_backlog(catalog: sqlite3.Connection, settings: FleetSettings) -> Backlog:
    """What the catalog's ledger wants of tasks and libraries that may go to boxes.

    An asset counts for the oldest open run among those that saw it; one without a run as of its last change.
    """
    hours = settings.deadline_hours * HOUR
    tasks = settings.tasks()
    waiting: dict[tuple[str, float], list[float]] = {}  # ready, coming, since
    if tasks:
        # What must be done here is no work for boxes.
        catalog.create_function("at_home", 1, lambda job: bool(job) and is_at_home(job))
        marks = ",".join("?" * len(tasks))
        rows = catalog.execute(
            "SELECT task, libraries, since, COUNT(*) FROM ("
            " SELECT w.task, JSON_GROUP_ARRAY(DISTINCT l.library) AS libraries,"
            "  COALESCE(MIN(r.started), MIN(w.changed)) AS since"
            f" FROM work w JOIN locations l ON l.asset = w.asset LEFT JOIN runs r ON r.id = l.run"
            f" WHERE w.state = 'wanted' AND w.task IN ({marks}) AND NOT at_home(w.job)"
            "  GROUP BY w.asset, w.task, w.model)"
            " GROUP BY task, libraries, since",
            tasks,
        )
        for task, libraries, since, count in rows:
            if all(settings.may_leave(library, task) for library in json.loads(libraries)):
                waiting.setdefault((task, since + hours), [0, 0, since])[0] += count
    files: dict[float, int] = {}
    catalog.create_function("kind_of_name", 1, kind_of_name, deterministic=True)
    unopened = catalog.execute(
        "SELECT l.library, kind_of_name(l.name), COALESCE(r.tasks, ''), COALESCE(r.started, MIN(l.changed)),"
        " COUNT(*) FROM locations l LEFT JOIN runs r ON r.id = l.run"
        " WHERE l.state = 'queued' AND l.gone IS NULL GROUP BY l.library, l.run, kind_of_name(l.name)"
    ).fetchall()
    per_file = items_per_file(catalog) if unopened else ItemsPerFile()
    for library, kind, named, since, count in unopened:
        leaving = [task for task in named.split(",") if settings.may_leave(library, task)]
        for task in leaving:
            if items := count * per_file.expect(kind, task):
                waiting.setdefault((task, since + hours), [0, 0, since])[1] += items
        if leaving:
            files[since + hours] = files.get(since + hours, 0) + count
    entries = tuple(
        Waiting(task, int(ready), deadline, since, math.ceil(coming - 1e-6))
        for (task, deadline), (ready, coming, since) in waiting.items()
    )
    return Backlog(entries, files)
