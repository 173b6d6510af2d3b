"""Locations: the paths at which assets were seen, and the state of each."""

from __future__ import annotations

import os
import sqlite3
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mediaflow.catalog import fulltext, retries
from mediaflow.catalog.database import storable
from mediaflow.media.kinds import ending
from mediaflow.media.times import OUT_OF_RANGE

# A file of which something was left out or damaged, or whose modification time is one of two given limits.
WARNED = "(json_extract(a.media, '$.warning') IS NOT NULL OR l.mtime_ns IN (?, ?))"


@dataclass(frozen=True, slots=True)
class Scope:
    """A library, and roots in it that limit a command; without roots, the whole library."""

    library: str
    roots: tuple[bytes, ...] = ()

    def where(self, table: str = "l") -> tuple[str, list[object]]:
        """The SQL condition on `table` (a locations alias) and its parameters."""
        clauses: list[str] = []
        parameters: list[object] = [self.library]
        for root in self.roots:
            inside = root.rstrip(b"/") + b"/"
            folder, name = os.path.split(root)
            clauses.append(
                f"({table}.folder = ? OR ({table}.folder >= ? AND {table}.folder < ?)"
                f" OR ({table}.folder = ? AND {table}.name = ?))"
            )
            parameters += [root, inside, inside[:-1] + b"0", folder, name]
        inside_roots = f" AND ({' OR '.join(clauses)})" if clauses else ""
        return f"{table}.library = ?{inside_roots}", parameters


@dataclass(frozen=True, slots=True)
class Known:
    """The catalog's state of one name in a folder; `changed` is the version of the row that was read."""

    size: int
    mtime_ns: int
    state: str
    due: float | None
    job: str | None
    changed: float
    gone: bool

    def settled(self) -> bool:
        """Whether no work is left for it: prepared, no medium, or failed for good."""
        return self.state in ("done", "skipped") or (self.state == "failed" and self.due is None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to be enqueued; `seen` is the `changed` of the row it was compared with, None for none.

    `root` is the length in bytes of the submitted root of its path, 0 where that is not known.
    """

    folder: bytes
    name: bytes
    size: int
    mtime_ns: int
    seen: float | None
    root: int = 0


def known_in(db: sqlite3.Connection, library: str, folder: bytes) -> dict[bytes, Known]:
    """The catalog's locations directly in `folder`, by name."""
    rows = db.execute(
        "SELECT name, size, mtime_ns, state, due, job, changed, gone IS NOT NULL"
        " FROM locations WHERE library = ? AND folder = ?",
        (library, folder),
    )
    return {row[0]: Known(*row[1:]) for row in rows}


def enqueue(
    db: sqlite3.Connection, library: str, run: int, job: str, files: Iterable[Candidate]
) -> list[int]:
    """Record these files, to be prepared by `job` of `run`; returns the ids of the entered ones.

    A file whose row another process has written since it was compared is left to that process.
    """
    ids = []
    for file in files:
        row = db.execute(
            "INSERT INTO locations"
            " (library, folder, name, words, size, mtime_ns, root, state, job, run, changed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?)"
            " ON CONFLICT (library, folder, name) DO UPDATE SET size = excluded.size,"
            "  mtime_ns = excluded.mtime_ns, state = 'queued', job = excluded.job, run = excluded.run,"
            "  root = excluded.root, changed = excluded.changed, gone = NULL, reason = NULL,"
            # Other bytes are another asset; the same ones need not be hashed again.
            "  asset = CASE WHEN size = excluded.size AND mtime_ns = excluded.mtime_ns THEN asset END,"
            "  attempts = CASE WHEN size = excluded.size AND mtime_ns = excluded.mtime_ns"
            "             THEN attempts ELSE 0 END, permanent = 0, due = NULL, dismissed = 0"
            " WHERE locations.changed = ?"
            " RETURNING id",
            (
                library,
                file.folder,
                file.name,
                words_of(file.folder, file.name),
                file.size,
                file.mtime_ns,
                file.root,
                job,
                run,
                time.time(),
                file.seen,
            ),
        ).fetchone()
        if row:
            ids.append(row[0])
    fulltext.index(db, "names")
    return ids


def words_of(folder: bytes, name: bytes) -> str:
    """The words of a path that a search by name looks at: the name and its two nearest folders."""
    near = folder.split(b"/")[-2:]
    return b" ".join([name, *reversed(near)]).decode("utf-8", "replace")


def mark_gone(db: sqlite3.Connection, library: str, folder: bytes, names: Iterable[bytes]) -> int:
    """Mark names that are no longer in `folder`; returns how many."""
    now = time.time()
    rows = [(now, now, library, folder, name) for name in names]
    db.executemany(
        "UPDATE locations SET gone = ?, changed = ? WHERE library = ? AND folder = ? AND name = ?", rows
    )
    return len(rows)


def mark_back(db: sqlite3.Connection, library: str, folder: bytes, names: Iterable[bytes]) -> None:
    """Remove the mark from names that are in `folder` again, unchanged."""
    now = time.time()
    db.executemany(
        "UPDATE locations SET gone = NULL, changed = ? WHERE library = ? AND folder = ? AND name = ?",
        [(now, library, folder, name) for name in names],
    )


def folders(db: sqlite3.Connection, scope: Scope) -> list[bytes]:
    """The folders in `scope` with locations that are not marked as gone."""
    condition, parameters = scope.where()
    rows = db.execute(
        f"SELECT DISTINCT l.folder FROM locations l WHERE {condition} AND l.gone IS NULL", parameters
    )
    return [row[0] for row in rows]


def count(db: sqlite3.Connection, scope: Scope) -> int:
    """How many locations in `scope` are not marked as gone."""
    condition, parameters = scope.where()
    return int(
        db.execute(
            f"SELECT COUNT(*) FROM locations l WHERE {condition} AND l.gone IS NULL", parameters
        ).fetchone()[0]
    )


def paths(db: sqlite3.Connection, job: str, ids: Sequence[int]) -> dict[int, tuple[bytes, str | None, bytes]]:
    """(path, hash of the asset it is known to hold or None, root) of locations by id that are `job`'s.

    The root is the submitted path: no link below it may be followed. Where it is not known, it is the folder.
    """
    rows = db.execute(
        "SELECT l.id, l.folder, l.name, a.hash, l.root FROM locations l LEFT JOIN assets a ON a.id = l.asset"
        f" WHERE l.id IN ({','.join('?' * len(ids))}) AND l.job = ?",
        [*ids, job],
    )
    found = {}
    for id, folder, name, hash, root in rows:
        path = os.path.join(folder, name)
        found[id] = (path, hash, path[: root or len(folder)])
    return found


def prepared(db: sqlite3.Connection, location: int, asset: int) -> None:
    """The location holds `asset`, and its rendition is made. After a crash its job may run again."""
    db.execute(
        "UPDATE locations SET asset = ?, state = 'done', reason = NULL, permanent = 0, due = NULL,"
        " attempts = 0, changed = ? WHERE id = ?",
        (asset, time.time(), location),
    )


def failed(
    db: sqlite3.Connection, location: int, reason: str, permanent: bool, blameless: bool = False
) -> None:
    """The location could not be prepared, for `reason`; when it is tried again: `retries.due`."""
    row = db.execute("SELECT attempts, state FROM locations WHERE id = ?", (location,)).fetchone()
    if row is None or row[1] != "queued":
        return  # forgotten, or settled before
    attempts = row[0] + 1
    due = retries.due(attempts, permanent=permanent, blameless=blameless)
    db.execute(
        "UPDATE locations SET state = 'failed', reason = ?, permanent = ?, attempts = ?, due = ?,"
        " job = NULL, changed = ? WHERE id = ?",
        (storable(reason), permanent, attempts, due, time.time(), location),
    )


def skip(db: sqlite3.Connection, location: int, reason: str) -> None:
    """Mark the location as no medium, for `reason`: it is opened again only when it has changed."""
    db.execute(
        "UPDATE locations SET asset = NULL, state = 'skipped', reason = ?, permanent = 0, due = NULL,"
        " attempts = 0, job = NULL, changed = ? WHERE id = ? AND state = 'queued'",
        (storable(reason), time.time(), location),
    )


def skipped_in(db: sqlite3.Connection, run: int) -> Counter[str]:
    """How many files of a run turned out to be no media, by the ending of their names."""
    rows = db.execute("SELECT name FROM locations WHERE run = ? AND state = 'skipped'", (run,))
    return Counter(ending(os.fsdecode(row[0])) or "no ending" for row in rows)


def warned_in(db: sqlite3.Connection, run: int) -> int:
    """How many files of a run have a warning: something of them was left out or damaged."""
    row = db.execute(
        "SELECT COUNT(*) FROM locations l JOIN assets a ON a.id = l.asset"
        f" WHERE l.run = ? AND l.gone IS NULL AND {WARNED}",
        (run, *OUT_OF_RANGE),
    ).fetchone()
    return int(row[0])


def give_up(db: sqlite3.Connection, job: str, reason: str) -> None:
    """The files that wait for `job` will not be prepared by it."""
    for row in db.execute("SELECT id FROM locations WHERE job = ? AND state = 'queued'", (job,)).fetchall():
        failed(db, row[0], reason, permanent=False)


def is_for(db: sqlite3.Connection, location: int, job: str) -> bool:
    """Whether the location still belongs to `job`: it may be forgotten, or changed and enqueued again."""
    row = db.execute("SELECT 1 FROM locations WHERE id = ? AND job = ?", (location, job)).fetchone()
    return row is not None


def of_path(db: sqlite3.Connection, path: bytes, library: str | None = None) -> sqlite3.Row | None:
    """The newest location of this path, in `library` or any.

    Where there is none, that of the path in another Unicode form: names from a Mac are decomposed.
    """
    for form in forms_of(path):
        folder, name = os.path.split(form)
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM locations WHERE folder = ? AND name = ? AND (? IS NULL OR library = ?)"
            " ORDER BY gone IS NOT NULL, changed DESC LIMIT 1",
            (folder, name, library, library),
        ).fetchone()
        if row:
            return row
    return None


def as_known(db: sqlite3.Connection, scope: Scope) -> Scope:
    """The scope, with each root in the Unicode form in which the catalog has files below it."""
    roots = (
        next((f for f in forms_of(root) if _holds(db, Scope(scope.library, (f,)))), root)
        for root in scope.roots
    )
    return Scope(scope.library, tuple(roots))


def _holds(db: sqlite3.Connection, scope: Scope) -> bool:
    condition, parameters = scope.where()
    return (
        db.execute(f"SELECT 1 FROM locations l WHERE {condition} LIMIT 1", parameters).fetchone() is not None
    )


def forms_of(path: bytes) -> list[bytes]:
    """The path as given, then with folders and name each composed (NFC) or decomposed (NFD)."""
    folders, name = os.path.split(os.fsdecode(path))
    names = [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
    parents = [folders, *(unicodedata.normalize(form, folders) for form in ("NFC", "NFD"))]
    return list(
        dict.fromkeys(os.fsencode(os.path.join(parent, name)) for parent in parents for name in names)
    )


def candidates(db: sqlite3.Connection, library: str, paths: Iterable[bytes]) -> list[Candidate]:
    """The known files at these paths, to be enqueued as they are in the catalog."""
    found = []
    for path in paths:
        row = db.execute(
            "SELECT folder, name, size, mtime_ns, changed, root FROM locations"
            " WHERE library = ? AND folder = ? AND name = ? AND gone IS NULL",
            (library, *os.path.split(path)),
        ).fetchone()
        if row:
            found.append(Candidate(*row))
    return found
