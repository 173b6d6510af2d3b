"""The vectors of a space, read from the catalog piece by piece."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np

CHUNK = 20_000


def vectors(
    db: sqlite3.Connection, space: str, after: int, last: int | None = None
) -> Iterator[tuple[Any, Any]]:
    """The space's vectors by id, in pieces: ids (n,) int64 and values (n, dimension) float32."""
    rows = db.execute(
        "SELECT id, value FROM vectors WHERE space = ? AND id > ? AND (? IS NULL OR id <= ?) ORDER BY id",
        (space, after, last, last),
    )
    while piece := rows.fetchmany(CHUNK):
        values = np.frombuffer(b"".join(row[1] for row in piece), dtype="<f2").astype(np.float32)
        yield np.array([row[0] for row in piece], dtype=np.int64), values.reshape(len(piece), -1)
