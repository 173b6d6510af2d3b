"""Provenance: which box has found what, what was checked of it, and how all of it is undone."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from mediaflow.catalog import passages, work
from mediaflow.catalog.passages import SOURCES


def box_of(db: sqlite3.Connection, asset: int, task: str, model: str) -> str | None:
    """The box that did a piece of work; None where it was this machine, or it is not done."""
    row = db.execute(
        "SELECT box FROM work WHERE asset = ? AND task = ? AND model = ?", (asset, task, model)
    ).fetchone()
    return row[0] if row else None


def awaited(db: sqlite3.Connection, asset: int, task: str, model: str, jobs: Container[str]) -> bool:
    """Whether a piece of work is wanted, and of one of these jobs."""
    row = db.execute(
        "SELECT job FROM work WHERE asset = ? AND task = ? AND model = ? AND state = 'wanted'",
        (asset, task, model),
    ).fetchone()
    return row is not None and row[0] in jobs


@dataclass(frozen=True, slots=True)
class Checks:
    """Of one task of one box: how many findings were chosen to be checked, and what came of it."""

    chosen: int = 0
    agreed: int = 0
    differed: int = 0
    failed: int = 0


def checks(db: sqlite3.Connection, box: str, task: str) -> Checks:
    """The checks of a task of a box."""
    row = db.execute(
        "SELECT chosen, agreed, differed, failed FROM checks WHERE box = ? AND task = ?", (box, task)
    ).fetchone()
    return Checks(*row) if row else Checks()


def count_check(
    db: sqlite3.Connection, box: str, task: str, what: Literal["chosen", "agreed", "differed", "failed"]
) -> None:
    """Add one to the checks of a task of a box."""
    db.execute(
        f"INSERT INTO checks (box, task, {what}) VALUES (?, ?, 1)"
        f" ON CONFLICT (box, task) DO UPDATE SET {what} = {what} + 1",
        (box, task),
    )


def found_by(db: sqlite3.Connection, box: str) -> list[tuple[int, str, str]]:
    """(asset, task, model) of all that a box has found and nobody has found again since."""
    rows = db.execute("SELECT asset, task, model FROM work WHERE box = ? ORDER BY asset, task", (box,))
    return [tuple(row) for row in rows]


def is_distrusted(db: sqlite3.Connection, box: str) -> bool:
    """Whether findings of this box are not true."""
    return db.execute("SELECT 1 FROM distrusted WHERE box = ?", (box,)).fetchone() is not None


def undo(db: sqlite3.Connection, box: str, reason: str) -> None:
    """Take out all that a box has found and what was made of it, and want it again.

    For one transaction. Healing enqueues the work: its job is in no queue.
    """
    for task, source in SOURCES.items():
        # Text of a newer finding, of another model, is not the box's.
        rows = db.execute(
            "SELECT f.asset FROM work w JOIN findings f USING (asset, task, model)"
            " WHERE w.box = ? AND w.task = ? AND f.created ="
            "  (SELECT MAX(n.created) FROM findings n WHERE n.asset = f.asset AND n.task = f.task)",
            (box, task),
        ).fetchall()
        for (asset,) in rows:
            passages.replace(db, asset, source, [])
            work.forget_text(db, asset, source)
    db.execute(
        "DELETE FROM findings WHERE (asset, task, model) IN"
        " (SELECT asset, task, model FROM work WHERE box = ?)",
        (box,),
    )
    db.execute("DELETE FROM vectors WHERE box = ?", (box,))
    db.execute(
        "UPDATE work SET state = 'wanted', job = 'undone', box = NULL, attempts = 0, changed = ?"
        " WHERE box = ?",
        (time.time(), box),
    )
    db.execute(
        "INSERT OR IGNORE INTO distrusted (box, reason, since) VALUES (?, ?, ?)", (box, reason, time.time())
    )


def untold(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """The boxes that are not trusted, and why, of which the fleet's ledger may not know."""
    return [tuple(row) for row in db.execute("SELECT box, reason FROM distrusted WHERE NOT told").fetchall()]


def told(db: sqlite3.Connection, box: str) -> None:
    """The fleet's ledger knows of a box that is not trusted."""
    db.execute("UPDATE distrusted SET told = 1 WHERE box = ?", (box,))
