"""Runs: one for each `submit`, with its counts."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Count:
    """The counts of a submit: files seen, new (or changed), known, gone since, and skipped by reason.

    `endings` are those of the names that were skipped as unsupported, as `.pdf`.
    """

    files: int = 0
    new: int = 0
    known: int = 0
    gone: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)


def begin(db: sqlite3.Connection, library: str, roots: Sequence[bytes], tasks: Sequence[str]) -> int:
    """Enter a run; returns its number."""
    row = db.execute(
        "INSERT INTO runs (library, roots, tasks, started, pid) VALUES (?, ?, ?, ?, ?) RETURNING id",
        (
            library,
            json.dumps([os.fsdecode(root) for root in roots]),
            ",".join(tasks),
            time.time(),
            os.getpid(),
        ),
    ).fetchone()
    return int(row[0])


def counted(db: sqlite3.Connection, run: int, count: Count) -> None:
    """Record the counts of the run's walk."""
    db.execute(
        "UPDATE runs SET files = ?, new = ?, known = ?, gone = ?, skipped = ? WHERE id = ?",
        (count.files, count.new, count.known, count.gone, json.dumps(count.skipped), run),
    )


def end(db: sqlite3.Connection, run: int) -> None:
    """The run's files have all been settled."""
    db.execute("UPDATE runs SET ended = ? WHERE id = ? AND ended IS NULL", (time.time(), run))


def newest(db: sqlite3.Connection, limit: int) -> list[sqlite3.Row]:
    """The last runs, newest first."""
    return db.execute("SELECT * FROM runs ORDER BY id DESC LIMIT ?", (limit,)).fetchall()


def last_change(db: sqlite3.Connection, run: int) -> float | None:
    """When the last of a run's files was settled (Unix seconds)."""
    row = db.execute(
        "SELECT MAX(MAX(l.changed, COALESCE((SELECT MAX(w.changed) FROM work w WHERE w.asset = l.asset), 0)))"
        " FROM locations l WHERE l.run = ?",
        (run,),
    ).fetchone()
    return float(row[0]) if row[0] else None


def by_number(db: sqlite3.Connection, run: int | None) -> sqlite3.Row | None:
    """The run with this number."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
    return row
