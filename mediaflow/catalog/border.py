"""The border to SQLite: its errors are translated into those of mediaflow.

Errors in the statements themselves stay what they are: constraints and the syntax of FTS5 queries
are for the caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from mediaflow.access import denial, denied
from mediaflow.disk import NEARLY_FULL, disk_of, free_bytes, full
from mediaflow.errors import CatalogError, MediaflowError, StorageError


class Cursor(sqlite3.Cursor):
    """A cursor whose errors about the file are StorageError and CatalogError."""

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        try:
            return super().execute(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from error

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Cursor:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from error

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from error

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from error

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        try:
            return super().fetchmany(size)
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from error

    def fetchall(self) -> list[Any]:
        try:
            return super().fetchall()
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.DatabaseError) -> Exception:
        return translated(error, cast(Connection, self.connection).path) or error


class Connection(sqlite3.Connection):
    """A connection that makes such cursors; `path` is the file it is to."""

    path: Path

    def cursor(self, factory: type[sqlite3.Cursor] = Cursor) -> Any:  # type: ignore[override]
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        return cast(Cursor, self.cursor().execute(sql, parameters))

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Cursor:
        return cast(Cursor, self.cursor().executemany(sql, parameters))


def translated(error: sqlite3.Error, path: Path) -> MediaflowError | None:
    """The error of ours for what SQLite says of the file at `path`; None for an error in a statement."""
    # Extended codes hold the plain one in their lowest byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CatalogError(f"The catalog {path} is damaged: {error}. `mediaflow doctor` says what to do.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return CatalogError(f"Another process holds the catalog {path} ({error}). Try again in a minute.")
    if code == sqlite3.SQLITE_FULL:
        return full(path)
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        if free_bytes(path) < NEARLY_FULL:
            return full(path)
        if denied(path):
            return StorageError(denial(path))
        why = f"{error} ({getattr(error, 'sqlite_errorname', '?')})"
        return StorageError(
            f"The catalog {path} cannot be read or written: {why}. Check the disk {disk_of(path)}"
            " and the rights of MEDIAFLOW_HOME."
        )
    return None
