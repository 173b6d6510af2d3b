"""All data on a file, in the form that `show --json` and `export` print."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mediaflow.catalog import findings
from mediaflow.catalog.locations import Scope, as_known
from mediaflow.media.kinds import reason_to_skip
from mediaflow.media.times import time_warning
from mediaflow.names import readable

SKIPPED = {
    "hidden": "hidden files are not analysed",
    "system": "files of the operating system are not analysed",
    "sidecar": "it belongs to another file, and is not analysed itself",
    "unfinished": "it looks like an unfinished download",
}


def describe(db: sqlite3.Connection, location: sqlite3.Row) -> dict[str, Any]:
    """The data on the file at a location."""
    path = os.fsdecode(os.path.join(location["folder"], location["name"]))
    answer: dict[str, Any] = {"path": path, "asset": None, "kind": None, "media": {}, "findings": {}}
    answer |= {
        "library": location["library"],
        "size": location["size"],
        "modified": location["mtime_ns"] / 1e9,
    }
    if location["reason"] and location["state"] == "skipped":
        answer["skipped"] = {"reason": location["reason"]}
    elif location["reason"]:
        answer["failed"] = {"stage": "prepare", "reason": location["reason"]}
    warning = time_warning(location["mtime_ns"])
    if location["asset"] is None:
        return answer | ({"media": {"warning": warning}} if warning else {})
    asset = db.execute("SELECT * FROM assets WHERE id = ?", (location["asset"],)).fetchone()
    answer |= {"asset": asset["hash"], "kind": asset["kind"], "media": json.loads(asset["media"])}
    if warning:
        answer["media"]["warning"] = "; ".join(filter(None, [answer["media"].get("warning"), warning]))
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


def locations_of(db: sqlite3.Connection, location: sqlite3.Row) -> list[dict[str, Any]]:
    """All locations with the same content, this one first; only this one where it was not read yet."""
    rows = db.execute(
        "SELECT library, folder, name, gone FROM locations WHERE asset = ? OR id = ?"
        " ORDER BY id != ?, gone IS NOT NULL, library, folder, name",
        (location["asset"], location["id"], location["id"]),
    )
    return [
        {
            "path": os.fsdecode(os.path.join(row["folder"], row["name"])),
            "library": row["library"],
            "gone": row["gone"],
        }
        for row in rows
    ]


def why_unknown(path: str) -> str:
    """Why the catalog does not have this absolute path, and what to do."""
    shown = readable(path)
    try:
        os.stat(path)
    except FileNotFoundError:
        return f"{shown} does not exist and is not known."
    except OSError as error:
        return f"{shown} is not known, and cannot be read: {error.strerror}."
    if Path(path).is_dir():
        return f"{shown} is a folder. Its files: mediaflow list PATH"
    reason = reason_to_skip(Path(path).name)
    if reason is None:
        return f"{shown} is not known. Submit it: mediaflow submit --wait PATH"
    ending = Path(path).suffix.lower()
    kind = "PDF files are" if ending == ".pdf" else f"{readable(ending)} files are" if ending else "it is"
    return f"{shown} is not known: {SKIPPED.get(reason, f'{kind} not supported yet')}."
