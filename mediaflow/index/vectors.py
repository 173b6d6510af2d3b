"""The vectors of a space, read from the catalog piece by piece."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

CHUNK = 20_000
SOURCES = ("picture", "ocr", "speech")
# Rows with a vector of this many bytes: not what a damaged catalog or another model has left.
SIZED = "typeof(value) = 'blob' AND length(value) = ?"
VALUE_BYTES = 2  # of a value: half precision


class Piece(NamedTuple):
    """Vectors by id: ids and assets (n,) int64, sources (n,) int8 as in SOURCES, values (n, d) float32."""

    ids: np.ndarray
    assets: np.ndarray
    sources: np.ndarray
    values: np.ndarray


def vectors(db: sqlite3.Connection, space: str, after: int, last: int | None = None) -> Iterator[Piece]:
    """The space's vectors with ids from `after` (not included) to `last`, in order.

    Vectors of another size, or with values that are not numbers, are left out: `mediaflow doctor` finds them.
    """
    size = VALUE_BYTES * (dimension_of(db, space) or 0)
    rows = db.execute(
        "SELECT id, asset, source, value FROM vectors"
        f" WHERE space = ? AND id > ? AND (? IS NULL OR id <= ?) AND {SIZED} ORDER BY id",
        (space, after, last, last, size),
    )
    while rows_ := rows.fetchmany(CHUNK):
        piece = _piece(rows_)
        if len(piece.ids):
            yield piece


def _piece(rows: list[Any]) -> Piece:
    values = decoded([row[3] for row in rows])
    finite = np.isfinite(values).all(axis=1)
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    assets = np.array([row[1] for row in rows], dtype=np.int64)
    sources = np.array([SOURCES.index(row[2]) for row in rows], dtype=np.int8)
    if finite.all():
        return Piece(ids, assets, sources, values)
    return Piece(ids[finite], assets[finite], sources[finite], values[finite])


def of_asset(db: sqlite3.Connection, asset: int, space: str) -> np.ndarray:
    """The vectors (n, dimension) float32 that an asset has in the space; bad ones are left out as above."""
    dimension = dimension_of(db, space) or 0
    rows = db.execute(
        f"SELECT id, asset, source, value FROM vectors WHERE asset = ? AND space = ? AND {SIZED} ORDER BY id",
        (asset, space, VALUE_BYTES * dimension),
    ).fetchall()
    return _piece(rows).values if rows else np.empty((0, dimension), np.float32)


def decoded(blobs: list[bytes]) -> np.ndarray:
    """Vectors (n, d) float32 of the bytes in the catalog, one or more and all of one size."""
    return np.frombuffer(b"".join(blobs), dtype="<f2").astype(np.float32).reshape(len(blobs), -1)


def dimension_of(db: sqlite3.Connection, space: str) -> int | None:
    """How many values a vector of the space has; None for a space that the catalog does not have."""
    row = db.execute("SELECT dimension FROM spaces WHERE name = ?", (space,)).fetchone()
    return int(row[0]) if row else None
