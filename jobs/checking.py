"""Checking: what a box has found beside what this machine finds of the same asset."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable

import numpy as np

from jobs.bench import Result
from jobs.task import Finding, Vector, find_task
from mediaflow.catalog import provenance
from mediaflow.fleet.distrust import differed

log = logging.getLogger("mediaflow.stages")


def check(
    db: sqlite3.Connection,
    box: str,
    asset: int,
    task: str,
    model: str,
    result: Result,
    found: list[np.ndarray],
) -> None:
    """Compare what the box has found with `result`, which is of this machine, with the vectors `found`.

    Where they differ too much, all that the box found is undone.
    """
    theirs = _found_by_box(db, box, asset, task, model, result.get("source"))
    if theirs is None:
        return
    vectors = (
        (vector["ordinal"], Vector(vector["space"], values, vector.get("page"), vector.get("time")))
        for vector, values in zip(result["vectors"], found, strict=True)
    )
    ours = Finding(result["data"], tuple(_in_order(vectors)))
    difference = find_task(task).agrees(theirs, ours)
    if difference is None:
        provenance.count_check(db, box, task, "agreed")
        return
    said = f"of {result['asset'][:12]}: {difference.said}"
    over = differed(db, box, task, said, gross=difference.gross)
    log.warning("Box %s found something else than this machine (%s, %s).", box, task, said)
    if over:
        log.warning("Box %s is not trusted any more: all that it found is done again.", box)


def _found_by_box(
    db: sqlite3.Connection, box: str, asset: int, task: str, model: str, source: str | None
) -> Finding | None:
    data: dict[str, object] = {}
    if source is None:
        row = db.execute(
            "SELECT data FROM findings WHERE asset = ? AND task = ? AND model = ?", (asset, task, model)
        ).fetchone()
        if row is None:
            return None
        data = json.loads(row[0])
    spaces = find_task(task).may_write(model, source)
    rows = db.execute(
        "SELECT space, page, time, value, ordinal FROM vectors WHERE asset = ? AND source = ? AND box = ?"
        f" AND space IN ({','.join('?' * len(spaces))})",
        (asset, source or "picture", box, *spaces),
    )
    vectors = (
        (row[4], Vector(row[0], np.frombuffer(row[3], dtype="<f2").astype(np.float32), row[1], row[2]))
        for row in rows
    )
    return Finding(data, tuple(_in_order(vectors)))


def _in_order(vectors: Iterable[tuple[int, Vector]]) -> list[Vector]:
    return [vector for _, vector in sorted(vectors, key=lambda pair: (pair[1].space, pair[0]))]
