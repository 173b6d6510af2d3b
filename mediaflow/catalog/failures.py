"""Failures: every file or task that failed, with its reason; retrying and dismissing them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mediaflow.catalog import locations, work
from mediaflow.catalog.locations import Scope, as_known
from mediaflow.queues.lineage import ancestors, is_given_back


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that failed: `stage` is `prepare` or a task, `last` when (Unix seconds).

    `due` is when it is tried again by itself; None when it is given up.
    """

    path: str
    stage: str
    reason: str
    attempts: int
    due: float | None
    last: float


def failures(
    db: sqlite3.Connection,
    scope: Scope,
    stages: Sequence[str] = (),
    reason: str | None = None,
    *,
    with_dismissed: bool = False,
) -> list[Failure]:
    """The failures in `scope`, newest first; only in `stages` and with `reason` in its reason, if given."""
    condition, parameters = as_known(db, scope).where()
    dismissed = (0, int(with_dismissed))
    rows = db.execute(
        f"""
        SELECT l.folder, l.name, 'prepare' AS stage, l.reason, l.attempts, l.due, l.changed AS last
          FROM locations l WHERE {condition} AND l.state = 'failed' AND l.gone IS NULL
           AND l.dismissed IN (?, ?)
        UNION ALL
        SELECT l.folder, l.name, w.task, w.reason, w.attempts, w.due, w.changed
          FROM work w JOIN locations l ON l.asset = w.asset
         WHERE {condition} AND w.state = 'failed' AND l.gone IS NULL AND l.state != 'failed'
           AND w.dismissed IN (?, ?)
        ORDER BY last DESC, folder, name
        """,
        [*parameters, *dismissed] * 2,
    )
    found = [
        Failure(
            os.fsdecode(os.path.join(row["folder"], row["name"])),
            row["stage"],
            row["reason"],
            row["attempts"],
            row["due"],
            row["last"],
        )
        for row in rows
    ]
    return [
        failure
        for failure in found
        if (not stages or failure.stage in stages)
        and (not reason or reason.lower() in failure.reason.lower())
    ]


def give_up(db: sqlite3.Connection, job: str, reason: str) -> None:
    """Record that a job failed for good: its files and work items fail with `reason`; no run waits for them.

    The failure of a job that stores findings includes the work of the job that made it; the same holds for a
    job of items that a box gave back.
    """
    locations.give_up(db, job, reason)
    work.give_up(db, job, reason)
    for ancestor in ancestors(job):
        work.give_up(db, ancestor, reason)
        if not is_given_back(ancestor):
            break


def reset(db: sqlite3.Connection, scope: Scope, failed: Sequence[Failure]) -> None:
    """Reset these failures: each is due now, with as many attempts as a new one."""
    _set(db, scope.library, failed, "permanent = 0, attempts = 0, due = 0, dismissed = 0")


def dismiss(db: sqlite3.Connection, scope: Scope, failed: Sequence[Failure]) -> None:
    """Stop listing, counting and retrying these failures, until `reset` or a change of the content.

    A task fails on the content of a file: its failure is dismissed for all copies.
    """
    _set(db, scope.library, failed, "due = NULL, dismissed = 1")


def _set(db: sqlite3.Connection, library: str, failed: Sequence[Failure], columns: str) -> None:
    now = time.time()
    for failure in failed:
        folder, name = os.path.split(os.fsencode(failure.path))
        if failure.stage == "prepare":
            db.execute(
                f"UPDATE locations SET {columns}, changed = ?"
                " WHERE library = ? AND folder = ? AND name = ? AND state = 'failed'",
                (now, library, folder, name),
            )
        else:
            db.execute(
                f"UPDATE work SET {columns}, changed = ?"
                " WHERE task = ? AND state = 'failed'"
                " AND asset = (SELECT asset FROM locations WHERE library = ? AND folder = ? AND name = ?)",
                (now, failure.stage, library, folder, name),
            )
