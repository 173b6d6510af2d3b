"""Which assets a search may answer with: in the library, still there, of the kind, safe, new enough."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mediaflow.search.request import Request

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Eligible:
    """An asset that passed, at the first of its locations by path."""

    hash: str
    kind: str
    path: str


def eligible(db: sqlite3.Connection, assets: Iterable[int], request: Request) -> dict[int, Eligible]:
    """Of `assets` (ids) those that the request lets through."""
    ids = list(dict.fromkeys(assets))
    passed: dict[int, Eligible] = {}
    for first in range(0, len(ids), CHUNK):
        for row in _rows(db, ids[first : first + CHUNK], request):
            path = os.fsdecode(os.path.join(row["folder"], row["name"]))
            if row["id"] not in passed and _new_enough(row, request):
                passed[row["id"]] = Eligible(row["hash"], row["kind"], path)
    return passed


def _rows(db: sqlite3.Connection, ids: list[int], request: Request) -> list[sqlite3.Row]:
    marks = ",".join("?" * len(ids))
    conditions = ["l.library = ?", "l.gone IS NULL", f"a.id IN ({marks})"]
    parameters: list[Any] = [request.library, *ids]
    if request.kind:
        conditions.append("a.kind = ?")
        parameters.append(request.kind)
    if request.safe:
        # What shows nothing is safe; what was not looked at yet is not.
        conditions.append(
            "(EXISTS (SELECT 1 FROM findings f WHERE f.asset = a.id AND f.task = 'nsfw'"
            "  AND json_extract(f.data, '$.verdict') = 'safe')"
            " OR EXISTS (SELECT 1 FROM work w"
            "  WHERE w.asset = a.id AND w.task = 'nsfw' AND w.state = 'skipped'))"
            " AND NOT EXISTS (SELECT 1 FROM findings f WHERE f.asset = a.id AND f.task = 'nsfw'"
            "  AND json_extract(f.data, '$.verdict') != 'safe')"
        )
    return db.execute(
        "SELECT a.id, a.hash, a.kind, json_extract(a.media, '$.taken') AS taken, l.folder, l.name, l.mtime_ns"
        f" FROM assets a JOIN locations l ON l.asset = a.id WHERE {' AND '.join(conditions)}"
        " ORDER BY a.id, LENGTH(l.folder), l.folder, l.name",
        parameters,
    ).fetchall()


def _new_enough(row: sqlite3.Row, request: Request) -> bool:
    if request.since is None and request.until is None:
        return True
    when = row["mtime_ns"] / 1e9
    if row["taken"]:
        # Cameras write all sorts of things; the file's time stands in for what is no date.
        with contextlib.suppress(ValueError):
            when = datetime.fromisoformat(row["taken"]).timestamp()
    late_enough = request.since is None or when >= request.since
    return late_enough and (request.until is None or when < request.until)
