"""Deleted and moved files, distinguished from those that may be on an unmounted disk."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from dataclasses import dataclass

from mediaflow.catalog import locations
from mediaflow.catalog.database import transaction
from mediaflow.catalog.locations import Scope

_FAILED = "(l.state = 'failed' OR l.asset IN (SELECT asset FROM work WHERE state = 'failed'))"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A folder whose files may only be out of reach, and why."""

    folder: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class File:
    """A known file; `seen` is when its run began, `root` the length of the submitted path."""

    id: int
    folder: bytes
    name: bytes
    root: int
    seen: float


def gone_files(db: sqlite3.Connection, scope: Scope) -> tuple[list[File], Counter[Doubt]]:
    """The deleted and moved files in `scope`, and the numbers of files that may only be out of reach.

    That may be so for all files below a submitted folder that is missing, empty or unreadable, and for the
    files of a folder that looks like an unused mount point.
    """
    return _gone(_files(db, scope))


def mark_gone_failures(db: sqlite3.Connection, library: str) -> None:
    """Mark failed files that are gone: a file that was moved has not failed at its former path."""
    gone, _ = _gone(_files(db, Scope(library), f"l.gone IS NULL AND {_FAILED}"))
    if gone:
        with transaction(db):
            for file in gone:
                locations.mark_gone(db, library, file.folder, [file.name])


def _files(db: sqlite3.Connection, scope: Scope, condition: str = "1") -> list[File]:
    inside, parameters = scope.where()
    rows = db.execute(
        "SELECT l.id, l.folder, l.name, l.root, COALESCE(r.started, 0)"
        f" FROM locations l LEFT JOIN runs r ON r.id = l.run WHERE {inside} AND {condition}",
        parameters,
    )
    return [File(*row) for row in rows]


def _gone(files: list[File]) -> tuple[list[File], Counter[Doubt]]:
    gone: list[File] = []
    kept: Counter[Doubt] = Counter()
    doubts: dict[tuple[bytes, int, float], Doubt | None] = {}
    for file in files:
        try:
            os.lstat(os.path.join(file.folder, file.name))
        except OSError as error:
            alike = (file.folder, file.root, file.seen)
            if alike not in doubts:
                doubts[alike] = _doubt(file, error)
            if doubt := doubts[alike]:
                kept[doubt] += 1
            else:
                gone.append(file)
    return gone, kept


def _doubt(file: File, error: OSError) -> Doubt | None:
    """Why a file that cannot be found may be on a disk that is not mounted; None when it was deleted."""
    submitted = file.folder[: file.root or None]
    reason = _absence(submitted)
    was_a_file = file.root > len(file.folder)  # the submitted path is the file itself
    if reason and not (was_a_file and reason == _EMPTY):
        return Doubt(submitted, reason)
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return Doubt(file.folder, _unreadable(error))
    nearest = file.folder
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    # A deletion changes the modification time of the folder, a missing disk uncovers one that is old.
    if _absence(nearest) == _EMPTY and os.stat(nearest).st_mtime <= file.seen:
        return Doubt(nearest, _EMPTY)
    return None


_EMPTY = "is empty"


def _absence(folder: bytes) -> str:
    """Why a folder shows no files: it is missing, empty or unreadable; empty text when it shows some."""
    try:
        with os.scandir(folder) as entries:
            return "" if next(entries, None) else _EMPTY
    except FileNotFoundError:
        return "does not exist"
    except NotADirectoryError:
        return "is not a folder any more"
    except OSError as error:
        return _unreadable(error)


def _unreadable(error: OSError) -> str:
    return f"cannot be read ({error.strerror})"
