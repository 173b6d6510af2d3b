"""Where renditions are, what they take, and making room: they are a cache and can be made again."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path

from mediaflow.catalog.database import transaction
from mediaflow.media.rendition import MANIFEST, Rendition
from mediaflow.settings import RenditionSettings, home

UNFINISHED_SECONDS = 24 * 3600


def rendition_folder(asset: str) -> Path:
    """The folder of an asset's rendition, by its hash."""
    return home() / "renditions" / asset[:2] / asset


def thumbnail_path(asset: str) -> Path:
    """Where an asset's thumbnail is, if it has one; it stays when the rest is pruned."""
    return rendition_folder(asset) / "thumbnail.webp"


def size_of(rendition: Rendition) -> int:
    """What a rendition's files take, in bytes."""
    return sum(file.stat().st_size for file in rendition.folder.iterdir())


def made(db: sqlite3.Connection, asset: int, size: int) -> None:
    """Write down that the asset has a rendition of `size` bytes."""
    db.execute(
        "UPDATE assets SET rendition_bytes = ?, rendition_made = ? WHERE id = ?", (size, time.time(), asset)
    )


def full(db: sqlite3.Connection, limits: RenditionSettings) -> bool:
    """Whether renditions take more than the settings allow."""
    total = db.execute(
        "SELECT COALESCE(SUM(rendition_bytes), 0) FROM assets WHERE rendition_bytes > 0"
    ).fetchone()[0]
    return bool(total > limits.gigabytes * 1e9)


def prune(db: sqlite3.Connection, limits: RenditionSettings) -> int:
    """Remove renditions that no task waits for: the old ones, and the oldest while all take too much.

    Returns how many were removed. Thumbnails stay.
    """
    oldest = time.time() - limits.days * 24 * 3600
    removed = 0
    while rows := db.execute(
        "SELECT id, hash FROM assets a WHERE rendition_bytes > 0 AND (rendition_made < ? OR ?)"
        " AND NOT EXISTS (SELECT 1 FROM work w WHERE w.asset = a.id AND w.state = 'wanted')"
        " ORDER BY rendition_made LIMIT 200",
        (oldest, full(db, limits)),
    ).fetchall():
        for row in rows:
            remove(row["hash"], thumbnail=False)
        with transaction(db):
            db.executemany(
                "UPDATE assets SET rendition_bytes = 0 WHERE id = ?", [(row["id"],) for row in rows]
            )
        removed += len(rows)
    return removed


def remove(asset: str, *, thumbnail: bool) -> None:
    """Remove an asset's derived files; `thumbnail` says whether that one goes too."""
    folder = rendition_folder(asset)
    if not folder.is_dir():
        return
    # The manifest first: a folder without one is not taken for a rendition.
    (folder / MANIFEST).unlink(missing_ok=True)
    for file in folder.iterdir():
        if thumbnail or file != thumbnail_path(asset):
            file.unlink(missing_ok=True)
    if thumbnail:
        folder.rmdir()


def remove_unfinished() -> None:
    """Remove what processes that were killed have left half made, a day ago or longer."""
    for folder in (home() / "renditions").glob("*/*.partial-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > UNFINISHED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
