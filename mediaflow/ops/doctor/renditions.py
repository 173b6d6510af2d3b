"""Renditions: whether the folders are those that the catalog knows of, and whole."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mediaflow.catalog.database import transaction
from mediaflow.lifeline import runs
from mediaflow.media import cache
from mediaflow.media.rendition import MANIFEST, Rendition
from mediaflow.ops.doctor.report import Examination, count
from mediaflow.settings import home

# A folder this young (seconds) may be one that is about to be entered in the catalog.
YOUNG = 3600


def examine(visit: Examination, db: sqlite3.Connection) -> None:
    """Look for renditions of nothing, half made ones, damaged ones, and those that are not there."""
    with visit.part("renditions"):
        # The catalog after the folders: what is entered meanwhile is not taken for unknown.
        folders = [folder for folder in (home() / "renditions").glob("*/*") if folder.is_dir()]
        known = {row["hash"]: row for row in db.execute("SELECT id, hash, rendition_bytes FROM assets")}
        left = [folder for folder in folders if _is_left(folder)]
        orphans = [f for f in folders if ".partial-" not in f.name and f.name not in known and _is_old(f)]
        damaged = [f for f in folders if f.name in known and _is_damaged(f)]
        _mend(visit, left, "rendition", "half made by a process that is gone", partial(_remove, left))
        _mend(visit, orphans, "rendition", "of files that are not known", partial(_remove, orphans))
        _mend(visit, damaged, "rendition", "damaged", partial(_drop, db, damaged))
        _compare(visit, db, known)
    made = db.execute(
        "SELECT COUNT(*), SUM(rendition_bytes) FROM assets WHERE rendition_bytes > 0"
    ).fetchone()
    visit.ok("renditions", f"{made[0]:,}, {(made[1] or 0) / 1e6:,.0f} MB, all whole")


def _mend(visit: Examination, folders: list[Path], what: str, which: str, repair: Callable[[], None]) -> None:
    if folders:
        visit.mend("renditions", f"{count(len(folders), what)} {which}", "removed", repair)


def _is_left(folder: Path) -> bool:
    pid = folder.name.rpartition(".partial-")[2]
    if ".partial-" not in folder.name:
        return False
    return not (pid.isdigit() and runs(int(pid))) or _age(folder) > cache.UNFINISHED_SECONDS


def _is_old(folder: Path) -> bool:
    return _age(folder) > YOUNG


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0


def _is_damaged(folder: Path) -> bool:
    """Whether it says that it is a rendition and is none, as after a power cut."""
    rendition = Rendition.load(folder)
    if rendition is None:
        return (folder / MANIFEST).exists()
    names = [picture.file for picture in rendition.pictures]
    names += [track.file for track in rendition.audio]
    names += [rendition.thumbnail] if rendition.thumbnail else []
    try:
        return any((folder / name).stat().st_size == 0 for name in names)
    except FileNotFoundError:
        # Files are missing, or it has just been pruned: then its manifest went first.
        return (folder / MANIFEST).exists()


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _drop(db: sqlite3.Connection, folders: list[Path]) -> None:
    _remove(folders)
    with transaction(db):
        db.executemany(
            "UPDATE assets SET rendition_bytes = 0 WHERE hash = ?", [(folder.name,) for folder in folders]
        )


def _compare(visit: Examination, db: sqlite3.Connection, known: dict[str, sqlite3.Row]) -> None:
    """What the catalog says of the room that renditions take, and what is there."""
    missing, unwritten = [], []
    for hash, row in known.items():
        manifest = cache.rendition_folder(hash) / MANIFEST
        if row["rendition_bytes"] and not manifest.exists():
            missing.append((row["id"],))
        elif not row["rendition_bytes"] and manifest.exists() and _is_old(manifest.parent):
            unwritten.append((row["id"], hash))

    def forget() -> None:
        with transaction(db):
            db.executemany("UPDATE assets SET rendition_bytes = 0 WHERE id = ?", missing)

    def enter() -> None:
        with transaction(db):
            for id, hash in unwritten:
                if rendition := Rendition.load(cache.rendition_folder(hash)):
                    cache.made(db, id, cache.size_of(rendition))

    if missing and not visit.dry_run:
        # Entered since they were looked for, or pruned and about to be written down: look again.
        missing = [one for one in missing if not _there(db, one[0])]
    if missing:
        what = f"{count(len(missing), 'rendition')} in the catalog and not on the disk"
        visit.mend("renditions", what, "made again when needed", forget)
    if unwritten:
        what = f"{count(len(unwritten), 'rendition')} on the disk and not in the catalog"
        visit.mend("renditions", what, "entered, to be removed in time", enter)


def _there(db: sqlite3.Connection, asset: int) -> bool:
    row = db.execute("SELECT hash, rendition_bytes FROM assets WHERE id = ?", (asset,)).fetchone()
    return (
        row is None or not row["rendition_bytes"] or (cache.rendition_folder(row["hash"]) / MANIFEST).exists()
    )
