"""Provenance: which box has found what, what was checked of it, and how all of it is undone."""

from __future__ import annotations

import sqlite3
from collections.abc import Container


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
