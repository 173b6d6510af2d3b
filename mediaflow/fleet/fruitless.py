"""Fruitless boxes: those that ended before they had done anything. After them, boxes become seldom."""

from __future__ import annotations

import sqlite3

# A box that failed is replaced at once, until so many did, one after another: something of ours may be wrong.
FAILURES = 3
FAILED_SECONDS = 1800.0
# One that found nothing to do although work waits: the next would not either.
IDLE_SECONDS = 600.0
# Pauses double with each further one, up to this; after a day it is forgotten.
LONGEST_SECONDS = 6 * 3600.0
REMEMBERED_SECONDS = 86400.0


def note(db: sqlite3.Connection, label: str, now: float, *, idle: bool) -> None:
    """A box ends without a result: `idle` for want of work, else because it was no good."""
    db.execute("INSERT OR REPLACE INTO fruitless VALUES (?, ?, ?)", (label, now, idle))
    db.execute("DELETE FROM fruitless WHERE at < ?", (now - REMEMBERED_SECONDS,))


def pause(db: sqlite3.Connection, now: float) -> str | None:
    """Why nothing is to be ordered now; None where something may be. The next result of any box ends it."""
    failed, idle, last = db.execute(
        "SELECT COUNT(*) - TOTAL(idle), TOTAL(idle), MAX(at) FROM fruitless"
        " WHERE at > ? AND at > COALESCE((SELECT MAX(worked) FROM boxes), 0)",
        (now - REMEMBERED_SECONDS,),
    ).fetchone()
    seconds = 0.0
    if failed >= FAILURES:
        seconds = FAILED_SECONDS * 2 ** (failed - FAILURES)
        why = "the last boxes failed before they did anything (`mediaflow fleet logs BOX`)"
    if idle and (found := IDLE_SECONDS * 2 ** (idle - 1)) > seconds:
        seconds = found
        why = "the last box was given nothing to do, though work waits (`mediaflow status`)"
    return why if last is not None and now - last < min(seconds, LONGEST_SECONDS) else None
