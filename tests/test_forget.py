"""Forgetting: a path goes with all that was found of it, unless its content is elsewhere too."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from mediaflow.catalog import assets, findings, locations, passages, work
from mediaflow.catalog.locations import Candidate, Scope
from mediaflow.catalog.passages import Passage
from mediaflow.media.cache import rendition_folder
from mediaflow.ops.forget import forget


@pytest.fixture
def twice(db: sqlite3.Connection) -> int:
    """One asset at /a/x.jpg and /b/copy.jpg, with everything that can be known of it."""
    asset = assets.add(db, "ab" * 32, "image", 10, {})
    for path in (b"/a/x.jpg", b"/b/copy.jpg"):
        [id] = locations.enqueue(db, "default", 1, "job", [Candidate(*os.path.split(path), 10, 1, None)])
        locations.prepared(db, id, asset)
    findings.store(db, asset, "ocr", "m", {"lines": []}, 1.0)
    findings.store_vectors(db, asset, "s", ["picture"], [("picture", 0, None, None, np.ones(2, np.float32))])
    passages.replace(db, asset, "ocr", [Passage("Rechnung")])
    work.finish(db, asset, "ocr", "m")
    folder = rendition_folder("ab" * 32)
    folder.mkdir(parents=True)
    for name in ("manifest.json", "page-0001.jpg", "thumbnail.webp"):
        (folder / name).touch()
    return asset


def left(db: sqlite3.Connection) -> dict[str, int]:
    tables = ("locations", "assets", "findings", "vectors", "passages", "work")
    return {table: db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in tables}


def test_a_copy_keeps_what_was_found(db: sqlite3.Connection, twice: int) -> None:
    result = forget(db, Scope("default", (b"/a",)))
    assert (result.locations, result.assets) == (1, 0)
    assert left(db) == {"locations": 1, "assets": 1, "findings": 1, "vectors": 1, "passages": 1, "work": 1}


def test_the_last_path_takes_everything_along(db: sqlite3.Connection, twice: int, home: Path) -> None:
    result = forget(db, Scope("default", (b"/a", b"/b")))
    assert (result.locations, result.assets) == (2, 1)
    assert set(left(db).values()) == {0}
    assert not list((home / "renditions").rglob("*.*"))
    words = "SELECT COUNT(*) FROM {0} WHERE {0} MATCH ?"
    assert db.execute(words.format("passages_words"), ("rechnung",)).fetchone()[0] == 0
    assert db.execute(words.format("names_words"), ("copy",)).fetchone()[0] == 0


def test_another_library_keeps_its_own(db: sqlite3.Connection, twice: int) -> None:
    assert forget(db, Scope("other", (b"/a",))).locations == 0


def test_a_name_that_begins_alike_is_not_forgotten(db: sqlite3.Connection, twice: int) -> None:
    assert forget(db, Scope("default", (b"/a/x",))).locations == 0
