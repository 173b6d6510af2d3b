"""Forget: remove paths from the catalog, with their findings; originals are not touched."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mediaflow.catalog import assets
from mediaflow.catalog.database import transaction
from mediaflow.catalog.locations import Scope
from mediaflow.media import cache


@dataclass(frozen=True, slots=True)
class Doubt:
    """A folder whose files may only be out of reach, and why."""

    folder: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The number of removed locations, of assets that were at no other one, and of their copies elsewhere.

    `kept` is how many files were kept for each doubt.
    """

    locations: int
    assets: int
    copies: int
    kept: Counter[Doubt]


@dataclass(frozen=True, slots=True)
class _File:
    """A known file; `seen` is when its run began, `root` the length of the submitted path."""

    id: int
    folder: bytes
    name: bytes
    root: int
    seen: float


def forget(db: sqlite3.Connection, scope: Scope) -> Forgotten:
    """Forget the locations in `scope`, and the assets that are at no other location."""
    return _remove(db, [file.id for file in _files(db, scope)], Counter())


def forget_gone(db: sqlite3.Connection, scope: Scope) -> Forgotten:
    """Forget the files in `scope` that the disk does not have any more.

    Kept is what may be on a disk that is not mounted: everything below a submitted folder that is
    missing, empty or unreadable, and the files of a folder that looks like an unused mount point.
    """
    gone: list[int] = []
    kept: Counter[Doubt] = Counter()
    doubts: dict[tuple[bytes, int, float], Doubt | None] = {}
    for file in _files(db, scope):
        try:
            os.lstat(os.path.join(file.folder, file.name))
        except OSError as error:
            alike = (file.folder, file.root, file.seen)
            if alike not in doubts:
                doubts[alike] = _doubt(file, error)
            if doubt := doubts[alike]:
                kept[doubt] += 1
            else:
                gone.append(file.id)
    return _remove(db, gone, kept)


def _files(db: sqlite3.Connection, scope: Scope) -> list[_File]:
    condition, parameters = scope.where()
    rows = db.execute(
        "SELECT l.id, l.folder, l.name, l.root, COALESCE(r.started, 0)"
        f" FROM locations l LEFT JOIN runs r ON r.id = l.run WHERE {condition}",
        parameters,
    )
    return [_File(*row) for row in rows]


def _doubt(file: _File, error: OSError) -> Doubt | None:
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


def _remove(db: sqlite3.Connection, ids: Sequence[int], kept: Counter[Doubt]) -> Forgotten:
    these = (json.dumps(list(ids)),)
    named = "id IN (SELECT value FROM json_each(?))"
    copies, orphans = 0, []
    with transaction(db):
        held = db.execute(
            f"SELECT DISTINCT asset FROM locations WHERE {named} AND asset IS NOT NULL", these
        ).fetchall()
        removed = db.execute(f"DELETE FROM locations WHERE {named}", these).rowcount
        for (asset,) in held:
            elsewhere = db.execute("SELECT COUNT(*) FROM locations WHERE asset = ?", (asset,)).fetchone()[0]
            copies += elsewhere
            if not elsewhere:
                orphans.append(assets.by_id(db, asset)["hash"])
                assets.forget(db, asset)
    # After the catalog has let go: a crash here leaves files that pruning finds, not findings without files.
    for hash in orphans:
        cache.remove(hash, thumbnail=True)
    return Forgotten(removed, len(orphans), copies, kept)
