"""Filters: part of every query, so that a small library beside a large one is searched to its last file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mediaflow.catalog import assets, findings, locations, passages, searchable, work
from mediaflow.catalog.database import connect, transaction
from mediaflow.catalog.locations import Candidate
from mediaflow.catalog.passages import Passage
from mediaflow.catalog.schema import MIGRATIONS
from mediaflow.index import snapshot
from mediaflow.search import nearest as nearest_module
from mediaflow.search.engine import Searcher
from mediaflow.search.filters import Filter
from mediaflow.search.request import Request
from tests.spaces import DIMENSION, IMAGE, enter, name_of, use_tiny_spaces
from tests.test_index import unit

MANY = 3000

BEFORE = 4  # the version of the catalog before filters had a table of their own


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """3,000 files in one library, 3 in another and 1 in a third; all hold the same common word.

    The small library's pictures lie apart from the others', in lists that no search of them looks into.
    """
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("crowd")
        patch.setenv("MEDIAFLOW_HOME", str(home))
        patch.setattr(snapshot, "EXACT_UP_TO", 500)
        with closing(connect()) as db:
            values = unit(MANY + 4, dimension=DIMENSION)
            values[:, 0] += np.where(np.arange(len(values)) < MANY, 2, -2)
            values /= np.linalg.norm(values, axis=1, keepdims=True)
            with transaction(db):
                for number, value in enumerate(values):
                    library = "large" if number < MANY else "small" if number < MANY + 3 else "one"
                    file = Candidate(b"/" + library.encode(), b"%d.jpg" % number, 1, number * 10**9, None)
                    [id] = locations.enqueue(db, library, 1, "job", [file])
                    asset = assets.add(db, f"{number}", "image" if number % 10 else "video", 1, {})
                    locations.prepared(db, id, asset)
                    passages.replace(db, asset, "ocr", [Passage("harvest " * (1 + (number < MANY)))])
                    findings.store_vectors(db, asset, IMAGE, ["picture"], [("picture", 0, None, None, value)])
            made = snapshot.build(db, IMAGE)
            assert 0 < made.probes < 128, "of 256 lists"
            yield db


FILTERS = [
    Request(library="small"),
    Request(library="one"),
    Request(library="large", kind="video"),
    Request(library="large", since=MANY - 5),
    Request(library="large", until=7),
    Request(library="large", since=100, until=400),
    Request(library="large", kind="image"),
    Request(library="large", kind="audio"),
    Request(library="large", safe=True),
    Request(library="nothing"),
]


@pytest.mark.parametrize("filters", FILTERS, ids=range(len(FILTERS)))
@pytest.mark.parametrize("few", [0, 20_000])
def test_the_nearest_that_pass_are_those_of_an_exact_search(
    crowd: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, filters: Request, few: int
) -> None:
    """`few`: whether the vectors that pass are compared from the start, or when a wider search has failed."""
    monkeypatch.setattr(nearest_module, "MAX_FEW", few)
    passing = Filter(crowd, filters).all
    rows = crowd.execute("SELECT asset, value FROM vectors ORDER BY asset").fetchall()
    ids = np.array([row[0] for row in rows])
    values = np.stack([np.frombuffer(row[1], dtype="<f2").astype(np.float32) for row in rows])
    chosen = np.isin(ids, passing)
    searcher, found, right = Searcher(crowd), 0, 0
    queries = unit(20, seed=7, dimension=DIMENSION)
    queries[:, 0] += 2  # near the large library
    for query in queries / np.linalg.norm(queries, axis=1, keepdims=True):
        look = nearest_module.Look(Filter(crowd, filters), ["image"], 10)
        evidence = nearest_module.nearest(crowd, searcher.opened(IMAGE), query, look)
        best = list(
            dict.fromkeys(piece.asset for piece in sorted(evidence, key=lambda one: -one.match.score))
        )
        truth = ids[chosen][np.argsort(-(values[chosen] @ query))[:10]]
        found += len(set(best[:10]) & set(truth.tolist()))
        right += len(truth)
    assert found >= 0.98 * right
    assert right == 20 * min(10, len(passing))


@pytest.mark.parametrize(("library", "count"), [("small", 3), ("one", 1), ("large", 10), ("nothing", 0)])
def test_a_word_that_the_large_library_is_full_of_is_found_in_the_small_one(
    crowd: sqlite3.Connection, library: str, count: int
) -> None:
    results = Searcher(crowd).search(Request("harvest", library=library, where="ocr")).results
    assert [os.path.dirname(result.path) for result in results] == [f"/{library}"] * count


def test_a_filter_asks_its_own_index(crowd: sqlite3.Connection) -> None:
    """No filter reads a table from its begin to its end."""
    for request in FILTERS:
        condition = Filter(crowd, request).condition
        plan = crowd.execute(
            f"EXPLAIN QUERY PLAN SELECT id FROM vectors WHERE id = 1 AND {condition.sql}",
            condition.parameters,
        )
        steps = [row[3] for row in plan]
        assert not [step for step in steps if step.startswith("SCAN") and "json_each" not in step], steps


# --- the table that filters look into -----------------------------------------------------------


def test_a_name_in_another_library_is_no_reason(db: sqlite3.Connection) -> None:
    enter(db, "/theirs/secret.jpg", says="harvest", library="theirs")
    enter(db, "/mine/plain.jpg", says="harvest", library="mine")
    enter(db, "/mine/secret.jpg", says="harvest", library="mine")
    locations.mark_gone(db, "mine", b"/mine", [b"secret.jpg"])
    assert Searcher(db).search(Request("secret", library="mine")).results == []
    [result] = Searcher(db).search(Request("secret", library="theirs")).results
    assert result.path == "/theirs/secret.jpg"


def test_the_path_is_the_first_that_passes_the_filters(db: sqlite3.Connection) -> None:
    for path, when in (("/a/old.jpg", 10.0), ("/a/deep/new.jpg", 30.0), ("/a/deep/middle.jpg", 20.0)):
        enter(db, path, says="harvest", when=when)

    def path(**filters: float) -> list[str]:
        return [result.path for result in Searcher(db).search(Request("harvest", **filters)).results]

    assert path() == ["/a/old.jpg"]
    assert path(since=15) == path(since=20) == ["/a/deep/middle.jpg"]
    assert path(since=25) == ["/a/deep/new.jpg"]
    assert path(since=20, until=30) == ["/a/deep/middle.jpg"]
    assert path(until=10) == path(since=31) == path(since=20, until=20) == []


@pytest.mark.parametrize(
    ("taken", "moment"),
    [
        ("2019-07-01T10:00:00", datetime(2019, 7, 1, 10).timestamp()),  # noqa: DTZ001 - of this machine's zone
        ("2019-07-01T10:00:00+02:00", datetime(2019, 7, 1, 8, tzinfo=UTC).timestamp()),
        ("2019-07-01T10:00:00Z", datetime(2019, 7, 1, 10, tzinfo=UTC).timestamp()),
        ("2019-07-01", datetime(2019, 7, 1).timestamp()),  # noqa: DTZ001
        ("0000:00:00 00:00:00", 5.0),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("yesterday", 5.0),
        ("", 5.0),
        (None, 5.0),
        (2019, 5.0),
        (["2019-07-01"], 5.0),
    ],
)
def test_the_moment_is_when_it_was_taken_or_else_when_it_was_written(
    db: sqlite3.Connection, taken: object, moment: float | None
) -> None:
    [id] = locations.enqueue(db, "default", 1, "job", [Candidate(b"/a", b"x.jpg", 1, 5 * 10**9, None)])
    asset = assets.add(db, "x", "image", 1, {"taken": taken})
    locations.prepared(db, id, asset)
    found = db.execute("SELECT moment FROM searchable").fetchone()[0]
    assert found == moment if moment is not None else isinstance(found, float)


def test_a_catalog_of_before_is_filtered_like_a_new_one(home: Path) -> None:
    media = ['{"taken": "2019-07-01T10:00:00+00:00"}', '{"taken": "0000"}', "{}", "no JSON"]
    with closing(sqlite3.connect(home / "old.sqlite")) as old:
        for script in MIGRATIONS[:BEFORE]:
            old.executescript(script)
        for number, said in enumerate(media):
            old.execute(
                "INSERT INTO assets (hash, kind, bytes, media, added) VALUES (?, 'image', 1, ?, 0)",
                (number, said),
            )
            old.execute(
                "INSERT INTO locations (library, folder, name, words, size, mtime_ns, asset, state, changed)"
                " VALUES ('default', x'2f', ?, '', 1, 7000000000, ?, 'done', 0)",
                (f"{number}".encode(), number + 1),
            )
        old.execute("INSERT INTO findings VALUES (1, 'nsfw', 'm', '{\"verdict\": \"safe\"}', 1, 1)")
        old.execute(f"PRAGMA user_version = {BEFORE}")
        old.commit()
    with closing(connect(home / "old.sqlite")) as db:
        rows = db.execute("SELECT moment, safe FROM searchable ORDER BY asset_id").fetchall()
        taken = datetime(2019, 7, 1, 10, tzinfo=UTC).timestamp()
        assert [tuple(row) for row in rows] == [(taken, 1), (7.0, 0), (7.0, 0), (7.0, 0)]
        assert searchable.differences(db) == 0


def test_whatever_is_written_the_table_follows(db: sqlite3.Connection) -> None:
    def row() -> list[tuple[object, ...]]:
        assert searchable.differences(db) == 0
        return [tuple(row)[2:] for row in db.execute("SELECT * FROM searchable")]

    asset = enter(db, "/a/x.jpg", when=5.0)
    assert row() == [("default", "image", 0, 5.0)]
    findings.store(db, asset, "nsfw", "m", {"verdict": "safe"}, 0.1)
    assert row() == [("default", "image", 1, 5.0)]
    findings.store(db, asset, "nsfw", "m", {"verdict": "unsafe"}, 0.1)
    assert row() == [("default", "image", 0, 5.0)]
    db.execute("DELETE FROM findings")
    work.skip(db, asset, "nsfw", "m")
    assert row() == [("default", "image", 1, 5.0)]
    work.reopen(db, asset, "nsfw", "m")
    assert row() == [("default", "image", 0, 5.0)]
    hash = assets.by_id(db, asset)["hash"]
    assets.add(db, hash, "video", 1, {"taken": "1970-01-01T00:00:09+00:00"})
    assert row() == [("default", "video", 0, 9.0)]
    locations.mark_gone(db, "default", b"/a", [b"x.jpg"])
    assert row() == []
    locations.mark_back(db, "default", b"/a", [b"x.jpg"])
    assert len(row()) == 1
    seen = db.execute("SELECT changed FROM locations").fetchone()[0]
    locations.enqueue(db, "default", 1, "job", [Candidate(b"/a", b"x.jpg", 2, 6 * 10**9, seen)])
    assert row() == [], "other bytes are another asset, which is not known yet"
    db.execute("DELETE FROM locations")
    assert row() == []


def test_like_answers_with_as_many_as_are_wanted_without_itself(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tiny_spaces(monkeypatch)
    for number in range(6):
        enter(db, f"/a/{number}.jpg", shows=f"tulip {number}")
    results = Searcher(db).search(Request(like="/a/3.jpg", limit=5)).results
    assert sorted(name_of(result.path) for result in results) == [f"{n}.jpg" for n in (0, 1, 2, 4, 5)]
