"""The full-text tables: `passages_words` and `names_words`, filled with the tokens of mediaflow/text.py.

SQLite cannot make the tokens, so triggers only list the rows that lack them (`*_unindexed`); code that
adds rows calls `index` in the same transaction. Rows of other programs, and all rows after a change of the
tokens, are indexed when the catalog is next opened (`mediaflow/catalog/database.py`).
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import suppress
from typing import Literal

from mediaflow import text

Name = Literal["passages", "names"]
NAMES: tuple[Name, ...] = ("passages", "names")
TABLES = {"passages": "passages", "names": "locations"}
# Rows of a transaction: other writers wait a fraction of a second for it.
BATCH = 5_000
# Progress is shown from this number of rows.
MIN_SHOWN = 10_000

_ROWS = {
    "passages": "SELECT x.id, x.text, n.text FROM passages_unindexed u JOIN passages x ON x.id = u.id"
    " LEFT JOIN passages n ON n.asset = x.asset AND n.source = x.source AND n.ordinal = x.ordinal + 1",
    "names": "SELECT x.id, x.words, NULL FROM names_unindexed u JOIN locations x ON x.id = u.id",
}


def index(db: sqlite3.Connection, name: Name, limit: int = -1) -> None:
    """Index at most `limit` of the unindexed rows of `name`, lowest ids first."""
    rows = db.execute(f"{_ROWS[name]} ORDER BY u.id LIMIT ?", (limit,)).fetchall()
    db.executemany(
        f"INSERT OR REPLACE INTO {name}_words (rowid, words) VALUES (?, ?)",
        ((row[0], text.document(row[1], row[2] or "")) for row in rows),
    )
    if rows:
        db.execute(f"DELETE FROM {name}_unindexed WHERE id <= ?", (rows[-1][0],))
    else:
        db.execute(f"DELETE FROM {name}_unindexed")


def unindexed(db: sqlite3.Connection, name: Name) -> bool:
    """Whether some rows of `name` are not in the full text yet."""
    return db.execute(f"SELECT 1 FROM {name}_unindexed LIMIT 1").fetchone() is not None


def is_whole(db: sqlite3.Connection, name: Name) -> bool:
    """Whether the full text of `name` holds each row once, and its index agrees with its tokens.

    Raises sqlite3.DatabaseError or CatalogError where it cannot be read.
    """
    db.execute(f"INSERT INTO {name}_words ({name}_words, rank) VALUES ('integrity-check', 1)")
    wrong = db.execute(
        f"SELECT EXISTS (SELECT id FROM {TABLES[name]} EXCEPT SELECT rowid FROM {name}_words)"
        f" OR EXISTS (SELECT rowid FROM {name}_words EXCEPT SELECT id FROM {TABLES[name]})"
    ).fetchone()[0]
    return not wrong


def rebuild(db: sqlite3.Connection, name: Name) -> None:
    """Make the full text of `name` again from its rows."""
    db.execute(f"INSERT INTO {name}_words ({name}_words) VALUES ('rebuild')")
    db.execute(f"DELETE FROM {name}_words")
    db.execute(f"INSERT OR IGNORE INTO {name}_unindexed SELECT id FROM {TABLES[name]}")
    while unindexed(db, name):
        index(db, name, BATCH)


class Progress:
    """The progress of indexing on standard error: a line that changes on a terminal, else one line."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._total = self._left()
        if self._total >= MIN_SHOWN and not _is_terminal():
            _write(f"mediaflow: indexing {self._total:,} texts for search, once after an update\n")

    def show(self) -> None:
        """Show how much is done so far, by this process and others."""
        if self._total >= MIN_SHOWN and _is_terminal():
            percent = 100 - 100 * self._left() // self._total
            end = "\n" if percent == 100 else ""
            _write(f"\rIndexing {self._total:,} texts for search, once after an update: {percent} %{end}")

    def _left(self) -> int:
        return sum(int(self._db.execute(f"SELECT COUNT(*) FROM {n}_unindexed").fetchone()[0]) for n in NAMES)


def _is_terminal() -> bool:
    with suppress(ValueError):  # standard error is closed
        return sys.stderr is not None and sys.stderr.isatty()
    return False


def _write(line: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # closed, or nothing reads it: the work goes on
            sys.stderr.write(line)
            sys.stderr.flush()
