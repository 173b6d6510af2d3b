"""Forget: take paths out of the catalog, with all that was found; originals are not touched."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from mediaflow.catalog import assets
from mediaflow.catalog.database import transaction
from mediaflow.catalog.locations import Scope, as_known
from mediaflow.media import cache


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many locations, and how many assets that were nowhere else."""

    locations: int
    assets: int


def forget(db: sqlite3.Connection, scope: Scope, *, only_gone: bool = False) -> Forgotten:
    """Forget the locations in `scope` (only those marked as gone), and assets that no location holds."""
    condition, parameters = as_known(db, scope).where()
    condition += " AND l.gone IS NOT NULL" if only_gone else ""
    with transaction(db):
        held = db.execute(
            f"SELECT DISTINCT l.asset FROM locations l WHERE {condition}", parameters
        ).fetchall()
        removed = db.execute(
            f"DELETE FROM locations WHERE id IN (SELECT l.id FROM locations l WHERE {condition})", parameters
        ).rowcount
        orphans = []
        for (asset,) in held:
            elsewhere = db.execute("SELECT 1 FROM locations WHERE asset = ? LIMIT 1", (asset,)).fetchone()
            if asset is not None and not elsewhere:
                orphans.append(assets.by_id(db, asset)["hash"])
                assets.forget(db, asset)
    # After the catalog has let go: a crash here leaves files that pruning finds, not findings without files.
    for hash in orphans:
        cache.remove(hash, thumbnail=True)
    return Forgotten(removed, len(orphans))
