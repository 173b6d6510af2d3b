"""Opening the catalog: SQLite in WAL mode, brought to the newest version, with plain transactions."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mediaflow.access import denial, denied
from mediaflow.catalog import fulltext
from mediaflow.catalog.border import Connection, translated
from mediaflow.catalog.schema import MIGRATIONS
from mediaflow.catalog.searchable import taken_seconds
from mediaflow.disk import full
from mediaflow.errors import CatalogError, MediaflowError, StorageError
from mediaflow.media.kinds import claims_medium
from mediaflow.settings import home

BUSY_SECONDS = 60


def catalog_path() -> Path:
    """Where the catalog is: `catalog.sqlite` under MEDIAFLOW_HOME."""
    return home() / "catalog.sqlite"


def connect(path: Path | None = None) -> Connection:
    """Open the catalog (made when there is none) at the newest version.

    Raises CatalogError when it cannot be opened, is damaged, or was written by a newer mediaflow, and
    StorageError when its disk is full. One that is there can be read on a full disk too.
    """
    path = path or catalog_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _open(path)
        except StorageError:
            # SQLite shares an index of the log between processes, in a file that is made again
            # when all have closed the catalog. Without room for it, it is kept in memory, by one process.
            return _open(path, alone=True)
    except sqlite3.Error as error:
        raise translated(error, path) or _unopened(path, str(error)) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise full(path) from error
        raise _unopened(path, error.strerror or str(error)) from error


def _unopened(path: Path, why: str) -> CatalogError:
    if denied(path):
        return CatalogError(denial(path))
    return CatalogError(
        f"The catalog {path} cannot be opened: {why}. Check the disk and the rights of MEDIAFLOW_HOME."
    )


def _open(path: Path, *, alone: bool = False) -> Connection:
    try:
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, factory=Connection)
    except sqlite3.OperationalError as error:
        raise _unopened(path, str(error)) from error
    db.path = path
    db.row_factory = sqlite3.Row
    try:
        if alone:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        # What a worker has finished is on the disk when it says so, and no vector's id is given away
        # again after a power cut, which would make a newer snapshot lie. 0.2 ms a commit here.
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        # A sort must not need a disk that may be full.
        db.execute("PRAGMA temp_store = MEMORY")
        _migrate(db, path)
        _index_text(db)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One write transaction: all of it or nothing; waits for other writers.

    Raises StorageError when the disk does not take it, CatalogError when it is damaged or another
    process does not let go of it. A statement that breaks a rule raises what SQLite does.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        _undo(db, "ROLLBACK")
        raise


@contextmanager
def savepoint(db: sqlite3.Connection) -> Iterator[None]:
    """A part of a transaction that is undone alone when it raises."""
    db.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        _undo(db, "ROLLBACK TO part")
        _undo(db, "RELEASE part")
        raise
    db.execute("RELEASE part")


def _undo(db: sqlite3.Connection, statement: str) -> None:
    # After some errors (a full disk) SQLite has rolled back by itself. A second error must not hide the
    # first one, which is raised; the next process that opens the catalog rolls the journal back.
    if db.in_transaction:
        with suppress(sqlite3.Error, MediaflowError):
            db.execute(statement)


def storable(text: str) -> str:
    """The text as UTF-8 can hold it: names that are no UTF-8 come as lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def add_functions(db: sqlite3.Connection) -> None:
    """Add the SQL functions that migrations call."""
    db.create_function("taken_seconds", 1, taken_seconds)
    db.create_function("claims_medium", 1, lambda name: claims_medium(os.fsdecode(name)))


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    if _version(db) < len(MIGRATIONS):
        add_functions(db)
        with transaction(db):
            # Another process may have migrated while this one waited for the lock.
            for script in MIGRATIONS[_version(db) :]:
                for statement in _statements(script):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    if _version(db) > len(MIGRATIONS):
        raise CatalogError(f"{path} was written by a newer mediaflow. Update mediaflow to read it.")


def _index_text(db: sqlite3.Connection) -> None:
    """Index the unindexed text: all of it after an update, or rows that another program added.

    All processes that open the catalog take turns, a batch each in a transaction of its own, until it is
    done: a killed one loses its batch only, and no search uses half an index.
    """
    if not any(fulltext.unindexed(db, name) for name in fulltext.NAMES):
        return
    progress = fulltext.Progress(db)
    for name in fulltext.NAMES:
        while fulltext.unindexed(db, name):
            with transaction(db):
                fulltext.index(db, name, fulltext.BATCH)
            progress.show()


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
