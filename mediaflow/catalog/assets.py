"""Assets: distinct contents, known by the hash of their bytes."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Any

from mediaflow.catalog.searchable import taken_seconds


def add(db: sqlite3.Connection, hash: str, kind: str, size: int, media: dict[str, Any]) -> int:
    """The id of the asset with this hash; it is entered, or its media description renewed."""
    row = db.execute(
        "INSERT INTO assets (hash, kind, bytes, media, taken, added) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (hash) DO UPDATE SET kind = excluded.kind, media = excluded.media,"
        "  taken = excluded.taken RETURNING id",
        (hash, kind, size, json.dumps(media), taken_seconds(media.get("taken")), time.time()),
    ).fetchone()
    return int(row[0])


def by_hash(db: sqlite3.Connection, hash: str) -> sqlite3.Row | None:
    """The asset with this hash."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM assets WHERE hash = ?", (hash,)).fetchone()
    return row


def by_id(db: sqlite3.Connection, asset: int) -> sqlite3.Row:
    """The asset with this id."""
    row: sqlite3.Row = db.execute("SELECT * FROM assets WHERE id = ?", (asset,)).fetchone()
    return row


def forget(db: sqlite3.Connection, asset: int) -> None:
    """Remove an asset that no location holds any more, with its work, findings and vectors."""
    for table in ("work", "findings", "passages", "vectors"):
        db.execute(f"DELETE FROM {table} WHERE asset = ?", (asset,))
    db.execute("DELETE FROM assets WHERE id = ?", (asset,))
