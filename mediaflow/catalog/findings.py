"""Findings and their vectors: what each task said of each asset. Written by the index worker only."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mediaflow.errors import FindingError

Row = tuple[str, int, int | None, float | None, np.ndarray]
"""Of a vector: source (picture, ocr, speech), ordinal, page, time in seconds, float32 values."""


def store(
    db: sqlite3.Connection, asset: int, task: str, model: str, data: dict[str, Any], seconds: float
) -> None:
    """Write a finding in the place of the last one of the same task and model."""
    db.execute(
        "INSERT INTO findings (asset, task, model, data, seconds, created) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (asset, task, model) DO UPDATE SET data = excluded.data,"
        "  seconds = excluded.seconds, created = excluded.created",
        (asset, task, model, json.dumps(data, ensure_ascii=False), seconds, time.time()),
    )


def store_vectors(
    db: sqlite3.Connection,
    asset: int,
    space: str,
    sources: Sequence[str],
    rows: Sequence[Row],
    box: str | None = None,
) -> None:
    """Write the vectors that an asset has in `space` from `sources`, in the place of the last ones.

    `box` is who has made them, unless it was this machine.

    Values are kept as float16, which costs no recall at these dimensions and half the room.
    Raises FindingError for a dimension that is not the space's, or values that are not finite.
    """
    for source in sources:
        db.execute("DELETE FROM vectors WHERE asset = ? AND space = ? AND source = ?", (asset, space, source))
    for source, ordinal, page, when, values in rows:
        _check(db, space, values)
        db.execute(
            "INSERT INTO vectors (asset, space, source, ordinal, page, time, value, box)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (asset, space, source, ordinal, page, when, values.astype("<f2").tobytes(), box),
        )


def _check(db: sqlite3.Connection, space: str, values: np.ndarray) -> None:
    db.execute("INSERT OR IGNORE INTO spaces (name, dimension) VALUES (?, ?)", (space, values.shape[-1]))
    dimension = db.execute("SELECT dimension FROM spaces WHERE name = ?", (space,)).fetchone()[0]
    if values.shape != (dimension,):
        raise FindingError(f"A vector for space {space} has shape {values.shape}, not ({dimension},).")
    if not np.isfinite(values).all():
        raise FindingError(f"A vector for space {space} has values that are not numbers.")


def of(db: sqlite3.Connection, asset: int) -> dict[str, dict[str, Any]]:
    """The asset's newest finding of each task, in the form `mediaflow show --json` prints."""
    found: dict[str, dict[str, Any]] = {}
    rows = db.execute(
        "SELECT task, model, data, seconds FROM findings WHERE asset = ? ORDER BY created", (asset,)
    )
    for row in rows:
        found[row["task"]] = {"model": row["model"], "seconds": round(row["seconds"], 3)} | json.loads(
            row["data"]
        )
    spaces = db.execute(
        "SELECT v.space, s.dimension, COUNT(*) FROM vectors v JOIN spaces s ON s.name = v.space"
        " WHERE v.asset = ? GROUP BY v.space ORDER BY v.space",
        (asset,),
    ).fetchall()
    if spaces:
        embed = found.setdefault("embed", {"model": spaces[0][0], "seconds": 0.0})
        embed["spaces"] = [{"space": row[0], "dimension": row[1], "vectors": row[2]} for row in spaces]
    return found
