"""Measuring this machine: how many items of each task it does in a second of all of it."""

from __future__ import annotations

import sqlite3

from mediaflow.fleet import ledger
from mediaflow.fleet.speeds import HERE

# What was found in this time is looked at; a minute in which something was found was spent on it.
WINDOW_SECONDS = 3600.0
MINUTE = 60.0
LEAST_ITEMS = 20


def measure_here(catalog: sqlite3.Connection, db: sqlite3.Connection, now: float) -> dict[str, float]:
    """Enter in the fleet's ledger how fast this machine was of late; items a second by task.

    Tasks are worked on side by side, and each finding says how long it took: the minutes at work are divided
    among the tasks by those times. What boxes found is not counted.
    """
    last = float(ledger.fact(db, "measured") or 0.0)
    # It lies ahead where the clock was set back.
    since = max(last if last <= now else 0.0, now - WINDOW_SECONDS)
    rows = catalog.execute(
        "SELECT task, COUNT(*), SUM(seconds) FROM findings WHERE created > ? AND created <= ?"
        f" {_not_of_boxes(catalog)} GROUP BY task",
        (since, now),
    ).fetchall()
    if sum(row[1] for row in rows) < LEAST_ITEMS:
        return {}
    minutes = catalog.execute(
        "SELECT COUNT(DISTINCT CAST(created / ? AS INTEGER)) FROM findings WHERE created > ? AND created <= ?"
        f" {_not_of_boxes(catalog)}",
        (MINUTE, since, now),
    ).fetchone()[0]
    spent = sum(row[2] for row in rows)
    if spent <= 0:
        return {}
    share = min(minutes * MINUTE, now - since, spent) / spent
    found: dict[str, float] = {}
    with ledger.transaction(db):
        for task, items, seconds in rows:
            if seconds > 0:
                ledger.measured(db, HERE, task, items, seconds * share, now)
                found[task] = items / (seconds * share)
        ledger.put_fact(db, "measured", now, now)
    return found


def _not_of_boxes(catalog: sqlite3.Connection) -> str:
    columns = {row[1] for row in catalog.execute("PRAGMA table_info(work)")}
    if "box" not in columns:
        return ""
    return (
        "AND NOT EXISTS (SELECT 1 FROM work w WHERE w.asset = findings.asset AND w.task = findings.task"
        " AND w.model = findings.model AND w.box IS NOT NULL)"
    )
