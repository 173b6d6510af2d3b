"""Listing: the known files of a library, and the libraries of the catalog."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from mediaflow.catalog.locations import WARNED, Scope
from mediaflow.media.times import OUT_OF_RANGE, time_warning

# One state for a file and all its tasks. `l` is the location.
STATE = (
    "CASE WHEN l.gone IS NOT NULL THEN 'gone' WHEN l.state != 'done' THEN l.state"
    " WHEN EXISTS (SELECT 1 FROM work w WHERE w.asset = l.asset AND w.state = 'failed') THEN 'failed'"
    " WHEN EXISTS (SELECT 1 FROM work w WHERE w.asset = l.asset AND w.state = 'wanted') THEN 'queued'"
    " ELSE 'done' END"
)


@dataclass(frozen=True, slots=True)
class Filter:
    """The files that a listing shows. Times are Unix seconds; `until` is exclusive."""

    kind: str | None = None
    state: str | None = None
    since: float | None = None
    until: float | None = None
    warnings: bool = False

    def passes(self, date: float) -> bool:
        """Whether a file of this date is in the period."""
        return (self.since is None or date >= self.since) and (self.until is None or date < self.until)


@dataclass(frozen=True, slots=True)
class Listed:
    """One file. `size` in bytes, `seconds` the length of a recording, `tasks` those that are done.

    `date` is in Unix seconds: when it was taken, or else when the file was last written.
    """

    path: str
    library: str
    state: str
    kind: str | None
    asset: str | None
    size: int
    seconds: float | None
    date: float
    taken: str | None
    tasks: tuple[str, ...]
    warning: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Library:
    """One library: how many files it has in each state, and the bytes of those that are there."""

    library: str
    files: int
    done: int
    failed: int
    queued: int
    skipped: int
    gone: int
    bytes: int


def files(db: sqlite3.Connection, scope: Scope, only: Filter) -> Iterator[Listed]:
    """The files in `scope` that pass, by folder and name, read while they are used."""
    for row in db.execute(*query(scope, only)):
        listed = _listed(row)
        if only.passes(listed.date):
            yield listed


def query(scope: Scope, only: Filter) -> tuple[str, list[object]]:
    """The SQL for the files in `scope`, and its parameters. An index has their order: nothing is sorted."""
    condition, parameters = scope.where()
    conditions = [condition]
    if only.kind:
        conditions.append("a.kind = ?")
        parameters.append(only.kind)
    if only.state:
        conditions.append(f"{STATE} = ?")
        parameters.append(only.state)
    if only.warnings:
        conditions.append(WARNED)
        parameters += OUT_OF_RANGE
    sql = (
        f"SELECT l.folder, l.name, l.library, {STATE} AS state, a.kind, a.hash, l.size, l.mtime_ns, a.media,"
        " (SELECT group_concat(task) FROM (SELECT DISTINCT w.task AS task FROM work w"
        "   WHERE w.asset = l.asset AND w.state = 'done' ORDER BY w.task)) AS tasks,"
        " COALESCE(l.reason, (SELECT w.task || ': ' || w.reason FROM work w"
        "   WHERE w.asset = l.asset AND w.state = 'failed' LIMIT 1)) AS reason"
        " FROM locations l LEFT JOIN assets a ON a.id = l.asset"
        f" WHERE {' AND '.join(conditions)} ORDER BY l.folder, l.name"
    )
    return sql, parameters


def _listed(row: sqlite3.Row) -> Listed:
    media = json.loads(row["media"] or "{}")
    taken = media.get("taken")
    return Listed(
        path=os.fsdecode(os.path.join(row["folder"], row["name"])),
        library=row["library"],
        state=row["state"],
        kind=row["kind"],
        asset=row["hash"],
        size=row["size"],
        seconds=media.get("seconds", media.get("duration")),
        date=media_date(taken, row["mtime_ns"]),
        taken=taken,
        tasks=tuple((row["tasks"] or "").split(",")) if row["tasks"] else (),
        warning="; ".join(filter(None, [media.get("warning"), time_warning(row["mtime_ns"])])) or None,
        reason=row["reason"],
    )


def media_date(taken: str | None, mtime_ns: int) -> float:
    """The time of a file in Unix seconds: when it was taken, where that is a date, or else last written."""
    # Cameras sometimes write text that is no date; then the file's time is used.
    with suppress(ValueError, TypeError, OverflowError, OSError):
        if taken:
            return datetime.fromisoformat(taken).timestamp()
    return mtime_ns / 1e9


def libraries(db: sqlite3.Connection) -> list[Library]:
    """All libraries, by name."""
    rows = db.execute(
        "SELECT library, COUNT(*), SUM(state = 'done'), SUM(state = 'failed'), SUM(state = 'queued'),"
        " SUM(state = 'skipped'), SUM(state = 'gone'), SUM(CASE WHEN state != 'gone' THEN size ELSE 0 END)"
        f" FROM (SELECT l.library, l.size, {STATE} AS state FROM locations l)"
        " GROUP BY library ORDER BY library"
    )
    return [Library(*row) for row in rows]


def library_names(db: sqlite3.Connection) -> list[str]:
    """The names of all libraries."""
    return [row[0] for row in db.execute("SELECT DISTINCT library FROM locations ORDER BY library")]


def libraries_of(db: sqlite3.Connection, scope: Scope) -> list[str]:
    """The libraries, other than that of `scope` too, that have files at its roots."""
    return [name for name in library_names(db) if has_any(db, Scope(name, scope.roots))]


def has_any(db: sqlite3.Connection, scope: Scope) -> bool:
    """Whether the catalog knows any file in `scope`; files that are gone count."""
    condition, parameters = scope.where()
    return bool(
        db.execute(f"SELECT EXISTS (SELECT 1 FROM locations l WHERE {condition})", parameters).fetchone()[0]
    )
