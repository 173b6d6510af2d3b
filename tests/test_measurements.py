"""How fast a GPU is, from what was measured of its boxes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mediaflow.fleet import ledger


@pytest.fixture
def fleet() -> Iterator[sqlite3.Connection]:
    with closing(ledger.open_ledger(":memory:")) as db:
        yield db


def work(fleet: sqlite3.Connection, box: str, rate: float, seconds: int, now: float = 0.0) -> None:
    for _ in range(seconds // 5):
        ledger.measured(fleet, "RTX 3060", "nsfw", rate * 5, 5, now, box)


def test_one_box_does_not_say_how_fast_the_others_are(fleet: sqlite3.Connection) -> None:
    for label, rate in (("a", 48), ("b", 50), ("liar", 500), ("c", 52)):
        work(fleet, label, rate, 3600)
    assert 48 <= ledger.rates(fleet)["RTX 3060", "nsfw"] <= 50 * 5 / 4 + 1e-6  # as one of four, at twice 50


def test_of_two_that_differ_the_faster_counts_for_twice_the_slower_at_most(fleet: sqlite3.Connection) -> None:
    work(fleet, "a", 50, 3600)
    work(fleet, "liar", 500, 3600)
    assert ledger.rates(fleet)["RTX 3060", "nsfw"] == pytest.approx((50 + 100) / 2)


def test_a_box_that_has_just_begun_counts_for_little(fleet: sqlite3.Connection) -> None:
    work(fleet, "a", 50, 3600)
    work(fleet, "new", 1, 5)
    assert ledger.rates(fleet)["RTX 3060", "nsfw"] == pytest.approx(50, rel=0.01)


def test_boxes_of_long_ago_do_not_count(fleet: sqlite3.Connection) -> None:
    for number in range(20):
        work(fleet, f"old-{number}", 10, 900, now=number)
    for number in range(9):
        work(fleet, f"new-{number}", 50, 900, now=100)
    assert ledger.rates(fleet)["RTX 3060", "nsfw"] == pytest.approx(50)


def test_a_ledger_of_before_is_read_and_measures_anew(home: Path) -> None:
    old = home / "old.sqlite"
    with closing(sqlite3.connect(old)) as db:
        db.execute("CREATE TABLE rates (gpu TEXT, task TEXT, items REAL, seconds REAL, changed REAL)")
        db.execute("INSERT INTO rates VALUES ('RTX 3060', 'nsfw', 1e9, 1, 0)")
        db.commit()
    with closing(ledger.open_ledger(old)) as fleet:
        assert ledger.rates(fleet) == {}
