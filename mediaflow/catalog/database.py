"""Opening the catalog: SQLite in WAL mode, brought to the newest version, with plain transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mediaflow.catalog.schema import MIGRATIONS
from mediaflow.errors import CatalogError
from mediaflow.settings import home

BUSY_SECONDS = 60


def catalog_path() -> Path:
    """Where the catalog is: `catalog.sqlite` under MEDIAFLOW_HOME."""
    return home() / "catalog.sqlite"


def connect(path: Path | None = None) -> sqlite3.Connection:
    """Open the catalog (made when there is none) at the newest version.

    Raises CatalogError when it cannot be opened, is damaged, or was written by a newer mediaflow.
    """
    path = path or catalog_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        _migrate(db, path)
    except (sqlite3.Error, OSError) as error:
        raise CatalogError(
            f"The catalog {path} cannot be opened: {error}. Check the disk and the rights of MEDIAFLOW_HOME."
        ) from error
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One write transaction: all of it or nothing; waits for other writers.

    Raises CatalogError when the database refuses (disk full, damaged).
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
    except sqlite3.Error as error:
        raise CatalogError(f"The catalog could not be written: {error}.") from error


@contextmanager
def savepoint(db: sqlite3.Connection) -> Iterator[None]:
    """A part of a transaction that is undone alone when it raises."""
    db.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK TO part")
        raise
    finally:
        db.execute("RELEASE part")


def storable(text: str) -> str:
    """The text as UTF-8 can hold it: names that are no UTF-8 come as lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    if _version(db) < len(MIGRATIONS):
        with transaction(db):
            # Another process may have migrated while this one waited for the lock.
            for script in MIGRATIONS[_version(db) :]:
                for statement in _statements(script):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    if _version(db) > len(MIGRATIONS):
        raise CatalogError(f"{path} was written by a newer mediaflow. Update mediaflow to read it.")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: executescript would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
