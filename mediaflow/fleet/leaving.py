"""Leaving: which work may be done on boxes, which belong to strangers."""

from __future__ import annotations

import sqlite3

from mediaflow.fleet.settings import load_fleet


def may_leave(db: sqlite3.Connection, asset: str, task: str) -> bool:
    """Whether a task's work on the asset with this hash may go to boxes.

    It may when all libraries in which the asset was seen are named for the task. Files that are gone count
    too: what was private does not cease to be when one copy of it vanishes; `forget` says that it did.
    """
    libraries = db.execute(
        "SELECT DISTINCT l.library FROM locations l JOIN assets a ON a.id = l.asset WHERE a.hash = ?",
        (asset,),
    ).fetchall()
    fleet = load_fleet()
    return bool(libraries) and all(fleet.may_leave(row[0], task) for row in libraries)
