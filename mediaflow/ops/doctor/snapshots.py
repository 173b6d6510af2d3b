"""Snapshots: whether each is of this catalog, whole and not far behind, and nothing is left beside it."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from mediaflow.index.file import digest
from mediaflow.index.labels import path_of, read_labels
from mediaflow.index.snapshot import VERSION, alone, build, current, files, lags, space_folder
from mediaflow.ops.doctor.report import Examination, count
from mediaflow.settings import home


def examine(visit: Examination, db: sqlite3.Connection) -> None:
    """Look at the snapshot of every space, reading its whole file."""
    with visit.part("index"):
        spaces = [row[0] for row in db.execute("SELECT name FROM spaces ORDER BY name")]
        for folder in (home() / "index").glob("*"):
            if folder.is_dir() and unquote(folder.name) not in spaces:
                _discard(
                    visit, folder, f"a snapshot of a space that the catalog does not have ({folder.name})"
                )
        for space in spaces:
            _examine_space(visit, db, space)
    visit.ok("index", f"{count(len(spaces), 'space')}, snapshots whole and recent")


def _examine_space(visit: Examination, db: sqlite3.Connection, space: str) -> None:
    folder = space_folder(space)
    reason = _reason(visit, db, space)
    vectors = db.execute("SELECT EXISTS (SELECT 1 FROM vectors WHERE space = ?)", (space,)).fetchone()[0]
    if reason and vectors:
        visit.mend("index", f"{space}: {reason}", "rebuilt", lambda: build(db, space))
    elif reason:
        _discard(visit, folder, f"{space}: {reason}")
    elif folder.exists() and not _is_busy(folder) and (left := _left(folder)):
        visit.mend(
            "index",
            f"{space}: {count(len(left), 'file')} left by a crash",
            "removed",
            partial(_remove_left, folder),
        )


def _reason(visit: Examination, db: sqlite3.Connection, space: str) -> str | None:
    """Why the snapshot of a space must be rebuilt; None where it need not."""
    folder = space_folder(space)
    snapshot = current(db, space)
    if snapshot is None:
        if not (folder / "current.json").exists() or _is_busy(folder):
            return None  # too few vectors yet, or it is being made
        return "its snapshot is cut short, or of another catalog"
    try:
        if digest(folder / snapshot.file) != snapshot.sha256:
            return "its snapshot has a wrong SHA-256"
    except FileNotFoundError:
        return None  # replaced meanwhile
    if snapshot.version != VERSION:
        return "its snapshot is of an older version"
    if read_labels(path_of(folder / snapshot.file), snapshot.sha256, snapshot.count) is None:
        return "the labels of its snapshot are missing or damaged"
    if visit.settings is not None and lags(db, space, snapshot, visit.settings.index.snapshot_every):
        return "its snapshot is far behind the catalog"
    return None


def _is_busy(folder: Path) -> bool:
    """Whether a snapshot is being made in this folder now."""
    try:
        with (folder / "lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _left(folder: Path) -> list[Path]:
    """Files that no description names."""
    try:
        named = Path(json.loads((folder / "current.json").read_bytes())["file"]).stem
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        named = None
    return [*folder.glob("*.partial"), *(file for file in files(folder) if file.stem != named)]


def _remove_left(folder: Path) -> None:
    with alone(folder):
        for file in _left(folder):
            file.unlink(missing_ok=True)


def _discard(visit: Examination, folder: Path, what: str) -> None:
    def remove() -> None:
        with alone(folder):
            (folder / "current.json").unlink(missing_ok=True)
            for file in _left(folder):
                file.unlink(missing_ok=True)

    if _left(folder) or (folder / "current.json").exists():
        visit.mend("index", what, "removed", remove)
