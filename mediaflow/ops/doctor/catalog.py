"""The catalog's file: whether it opens, is whole, and its indexes say what its tables do."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from mediaflow.catalog import fulltext, searchable
from mediaflow.catalog.database import catalog_path, connect, transaction
from mediaflow.errors import CatalogError, MediaflowError
from mediaflow.ops.doctor.report import AGAIN, Examination, count

LOST = (
    "Stop mediaflow and put back a backup of it. Without one: move it and its -wal and -shm away,"
    " and submit your folders again."
)


def examine(visit: Examination) -> sqlite3.Connection | None:
    """Look at the catalog's file; returns it open, or None where it cannot be used."""
    try:
        db = connect()
    except MediaflowError as error:
        damaged = isinstance(error, CatalogError)
        visit.problem("catalog", str(error), LOST if damaged else AGAIN)
        return None
    try:
        if not _is_whole(visit, db):
            db.close()
            return None
        _check_references(visit, db)
        for name in fulltext.NAMES:
            _check_words(visit, db, name)
        _check_searchable(visit, db)
    except MediaflowError as error:
        visit.problem("catalog", str(error), LOST)
        db.close()
        return None
    files, size = db.execute("SELECT COUNT(*) FROM locations").fetchone()[0], catalog_path().stat().st_size
    version = db.execute("PRAGMA user_version").fetchone()[0]
    visit.ok("catalog", f"whole, {count(files, 'file')}, {size / 1e6:,.1f} MB, version {version}")
    return db


def _is_whole(visit: Examination, db: sqlite3.Connection) -> bool:
    wrong = _wrong(db)
    if not wrong:
        return True
    # Damage of the indexes alone is repaired from the tables.
    if all(" index " in line for line in wrong):
        visit.mend(
            "catalog", f"an index is wrong ({wrong[0]})", "rebuilt", lambda: db.execute("REINDEX").close()
        )
        if visit.dry_run or not _wrong(db):
            return True
    visit.problem("catalog", f"{catalog_path()} is damaged: {wrong[0]}", LOST)
    return False


def _wrong(db: sqlite3.Connection) -> list[str]:
    return [
        line
        for (answer,) in db.execute("PRAGMA integrity_check(20)")
        for line in str(answer).splitlines()
        if line != "ok" and "fts5" not in line.lower()  # looked at by itself
    ]


def _check_references(visit: Examination, db: sqlite3.Connection) -> None:
    tables = [row[0] for row in db.execute("PRAGMA foreign_key_check")]

    def repair() -> None:
        with transaction(db):
            for row in db.execute("PRAGMA foreign_key_check").fetchall():
                if row[0] == "locations":
                    # Another modification time than the file's: the next submit reads it again.
                    db.execute("UPDATE locations SET asset = NULL, mtime_ns = -1 WHERE rowid = ?", (row[1],))
                elif row[0] == "work":  # it has no rowids
                    db.execute("DELETE FROM work WHERE asset NOT IN (SELECT id FROM assets)")
                else:
                    db.execute(f"DELETE FROM {row[0]} WHERE rowid = ?", (row[1],))

    if tables:
        named = ", ".join(sorted(set(tables)))
        visit.mend(
            "catalog", f"{count(len(tables), 'row')} of {named} without their asset", "removed", repair
        )


def _check_words(visit: Examination, db: sqlite3.Connection, name: fulltext.Name) -> None:
    def repair() -> None:
        with transaction(db):
            fulltext.rebuild(db, name)

    whole = False
    with suppress(CatalogError, sqlite3.DatabaseError):
        whole = fulltext.is_whole(db, name)
    if not whole:
        visit.mend("catalog", f"the full text {name}_words differs from its table", "made again", repair)


def _check_searchable(visit: Examination, db: sqlite3.Connection) -> None:
    def repair() -> None:
        with transaction(db):
            searchable.refill(db)

    if wrong := searchable.differences(db):
        what = f"{count(wrong, 'file')} with outdated values in the table of filters"
        visit.mend("catalog", what, "corrected", repair)
