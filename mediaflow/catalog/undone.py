"""Undone work that is in no job: failures that are due again, and work whose job is lost."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Collection
from dataclasses import dataclass

# A failure later than now was entered before the clock was set back, which must not delay the retry.
_DUE = "state = 'failed' AND due IS NOT NULL AND (due <= :now OR changed > :now)"
_LOST = "job IN (SELECT value FROM json_each(:jobs))"


@dataclass(frozen=True, slots=True)
class Undone:
    """A file, the run it was in, and the tasks that are to be done."""

    library: str
    run: int
    path: bytes
    tasks: tuple[str, ...]


def due(db: sqlite3.Connection) -> list[Undone]:
    """The failures that are due for a retry."""
    return _files(db, _DUE, _DUE)


def lost(db: sqlite3.Connection, jobs: Collection[str]) -> list[Undone]:
    """The files and work items that wait for these lost jobs."""
    if not jobs:
        return []
    return _files(db, f"state = 'queued' AND {_LOST}", f"state = 'wanted' AND {_LOST}", jobs)


def _files(
    db: sqlite3.Connection, unprepared: str, unfinished: str, jobs: Collection[str] = ()
) -> list[Undone]:
    """Files that are `unprepared`, and one of each asset that has work `unfinished`.

    The states are named as in the conditions of the partial indexes, or SQLite reads the whole tables.
    """
    parameters = {"now": time.time(), "jobs": json.dumps(list(jobs))}
    rows = db.execute(
        f"""
        WITH open AS (SELECT asset, task FROM work WHERE state IN ('wanted', 'failed') AND {unfinished})
        SELECT l.library, l.run, l.folder, l.name, r.tasks
          FROM (SELECT * FROM locations WHERE state != 'done' AND gone IS NULL AND {unprepared}) l
          JOIN runs r ON r.id = l.run
        UNION ALL
        SELECT l.library, l.run, l.folder, l.name, GROUP_CONCAT(DISTINCT open.task)
          FROM open JOIN locations l ON l.id = (SELECT MIN(id) FROM locations same
               WHERE same.asset = open.asset AND same.state = 'done' AND same.gone IS NULL)
         GROUP BY l.id
        """,
        parameters,
    )
    return [Undone(row[0], row[1], os.path.join(row[2], row[3]), tuple(row[4].split(","))) for row in rows]
