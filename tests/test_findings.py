"""Findings and their vectors: stored in the place of the last ones, refused when they break the rules."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from mediaflow.catalog import assets, findings
from mediaflow.errors import FindingError


@pytest.fixture
def asset(db: sqlite3.Connection) -> int:
    return assets.add(db, "hash", "image", 1, {})


def vector(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_a_finding_takes_the_place_of_the_last_one_of_its_model(db: sqlite3.Connection, asset: int) -> None:
    for text in ("first", "second"):
        findings.store(db, asset, "ocr", "m", {"text": text}, 1.0)
    assert findings.of(db, asset) == {"ocr": {"model": "m", "seconds": 1.0, "text": "second"}}
    assert db.execute("SELECT COUNT(*) FROM findings").fetchone()[0] == 1


def test_of_several_models_the_newest_finding_is_shown(db: sqlite3.Connection, asset: int) -> None:
    findings.store(db, asset, "ocr", "old", {"text": "a"}, 1.0)
    findings.store(db, asset, "ocr", "new", {"text": "b"}, 1.0)
    assert findings.of(db, asset)["ocr"]["model"] == "new"


def test_vectors_of_one_source_leave_those_of_others_alone(db: sqlite3.Connection, asset: int) -> None:
    findings.store_vectors(db, asset, "s", ["picture"], [("picture", 0, None, None, vector(1, 0))])
    findings.store_vectors(db, asset, "s", ["ocr"], [("ocr", 0, None, None, vector(0, 1))])
    findings.store_vectors(db, asset, "s", ["picture"], [("picture", 0, None, 1.5, vector(0, 1))])
    rows = db.execute("SELECT source, time FROM vectors ORDER BY source").fetchall()
    assert [tuple(row) for row in rows] == [("ocr", None), ("picture", 1.5)]


def test_an_id_of_a_vector_is_never_used_again(db: sqlite3.Connection, asset: int) -> None:
    row = ("picture", 0, None, None, vector(1, 0))
    for _ in range(3):
        findings.store_vectors(db, asset, "s", ["picture"], [row])
    assert db.execute("SELECT id FROM vectors").fetchone()[0] == 3


@pytest.mark.parametrize("values", [vector(1, 0, 0), vector(np.nan, 0), vector(np.inf, 0)])
def test_a_vector_that_does_not_fit_its_space_is_refused(
    db: sqlite3.Connection, asset: int, values: np.ndarray
) -> None:
    findings.store_vectors(db, asset, "s", ["picture"], [("picture", 0, None, None, vector(1, 0))])
    with pytest.raises(FindingError, match="space s"):
        findings.store_vectors(db, asset, "s", ["ocr"], [("ocr", 0, None, None, values)])
