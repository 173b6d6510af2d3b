"""Forget: remove paths from the catalog, with their findings; originals are not touched."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mediaflow.catalog import assets
from mediaflow.catalog.database import transaction
from mediaflow.catalog.locations import Scope, as_known
from mediaflow.media import cache
from mediaflow.ops.gone import Doubt, gone_files


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The number of removed locations, of assets that were at no other one, and of their copies elsewhere.

    `kept` counts the kept files by doubt.
    """

    locations: int
    assets: int
    copies: int
    kept: Counter[Doubt]


def forget(db: sqlite3.Connection, scope: Scope) -> Forgotten:
    """Forget the locations in `scope`, and the assets that are at no other location."""
    condition, parameters = as_known(db, scope).where()
    rows = db.execute(f"SELECT l.id FROM locations l WHERE {condition}", parameters)
    return _remove(db, [row[0] for row in rows], Counter())


def forget_gone(db: sqlite3.Connection, scope: Scope) -> Forgotten:
    """Forget the deleted files in `scope`; keep those in doubt."""
    gone, kept = gone_files(db, as_known(db, scope))
    return _remove(db, [file.id for file in gone], kept)


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
    # After the transaction: a crash here leaves files that pruning removes, not findings without files.
    for hash in orphans:
        cache.remove(hash, thumbnail=True)
    return Forgotten(removed, len(orphans), copies, kept)
