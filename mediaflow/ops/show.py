"""All that is known of a file, in the form `show --json` and `export` print."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from mediaflow.catalog import findings
from mediaflow.catalog.locations import Scope, as_known


def describe(db: sqlite3.Connection, location: sqlite3.Row) -> dict[str, Any]:
    """What is known of the file at a location."""
    path = os.fsdecode(os.path.join(location["folder"], location["name"]))
    answer: dict[str, Any] = {"path": path, "asset": None, "kind": None, "media": {}, "findings": {}}
    if location["reason"]:
        answer["failed"] = {"stage": "prepare", "reason": location["reason"]}
    if location["asset"] is None:
        return answer
    asset = db.execute("SELECT * FROM assets WHERE id = ?", (location["asset"],)).fetchone()
    answer |= {"asset": asset["hash"], "kind": asset["kind"], "media": json.loads(asset["media"])}
    return answer | {"findings": findings.of(db, asset["id"])}


def describe_all(db: sqlite3.Connection, scope: Scope) -> Iterator[dict[str, Any]]:
    """`describe` for every prepared location in `scope`, by path."""
    condition, parameters = as_known(db, scope).where()
    rows = db.execute(
        f"SELECT * FROM locations l WHERE {condition} AND l.asset IS NOT NULL AND l.gone IS NULL"
        " ORDER BY l.folder, l.name",
        parameters,
    )
    for row in rows:
        yield describe(db, row)
