"""Where a path is, and what a search may be asked: for all paths and all words, not only the usual ones."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediaflow.catalog import assets, locations, passages
from mediaflow.catalog.database import connect, transaction
from mediaflow.catalog.locations import Candidate, Scope
from mediaflow.catalog.passages import Passage
from mediaflow.ops.forget import forget
from mediaflow.search.filters import Condition, Filter
from mediaflow.search.fuse import Evidence, fuse
from mediaflow.search.query import query_words
from mediaflow.search.request import Match, Request
from mediaflow.search.words import search_names, search_passages

EVERY = Condition("1", ())
bounded = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Few letters, and those about the slash above all: near misses must be frequent.
LETTERS = st.sampled_from([b"a", b".", b"0", b"-", b"\xff", b"\n", b"%", b"_", b" ", b"\xc3\xa4"])
NAME = st.lists(LETTERS, min_size=1, max_size=3).map(b"".join).filter(lambda name: name not in (b".", b".."))
PATH = st.lists(NAME, min_size=1, max_size=4).map(lambda names: b"/" + b"/".join(names))
ODD = st.sampled_from(['"', "a AND", "NEAR(a b", "*", "-x", "a:b", "^a", "'; --", "a OR *"])
ROOT = PATH | st.just(b"/")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """One catalog for all examples: each leaves it empty."""
    with closing(connect(tmp_path_factory.mktemp("properties") / "catalog.sqlite")) as db:
        yield db


def enter(db: sqlite3.Connection, paths: list[bytes], library: str = "default") -> None:
    files = [Candidate(*os.path.split(path), 1, 1, None) for path in paths]
    locations.enqueue(db, library, 1, "job", files)


def is_inside(path: bytes, root: bytes) -> bool:
    return path == root or path.startswith(root.rstrip(b"/") + b"/")


@bounded
@given(
    paths=st.lists(PATH, unique=True, max_size=8),
    roots=st.lists(PATH | st.just(b"/"), min_size=1, max_size=2),
)
def test_a_scope_is_its_roots_and_all_that_is_in_them(
    catalog: sqlite3.Connection, paths: list[bytes], roots: list[bytes]
) -> None:
    with transaction(catalog):
        enter(catalog, paths)
        enter(catalog, paths, "another library")
        condition, parameters = Scope("default", tuple(roots)).where()
        rows = catalog.execute(
            f"SELECT folder, name FROM locations l WHERE {condition}", parameters
        ).fetchall()
        catalog.execute("DELETE FROM locations")
    found = sorted(os.path.join(row["folder"], row["name"]) for row in rows)
    assert found == sorted(path for path in paths if any(is_inside(path, root) for root in roots))


@pytest.mark.slow
@bounded
@given(query=st.text(max_size=40) | ODD)
def test_no_question_breaks_the_full_text_search(catalog: sqlite3.Connection, query: str) -> None:
    with transaction(catalog):
        enter(catalog, [b"/a/x.jpg"])
        asset = assets.add(catalog, "hash", "image", 1, {})
        catalog.execute("UPDATE locations SET asset = ?", (asset,))
        passages.replace(catalog, asset, "ocr", [Passage("Rechnung 4711 a:b x"), Passage(query)])
        read = search_passages(catalog, query, ["ocr"], EVERY)
        said = [*read, *search_names(catalog, query, EVERY)]
        assert all(0 < hit.score <= 1 for hit in said)
        # A query in the very words of a passage finds it.
        assert any(hit.text == query for hit in read) or not query_words(query)
    forget(catalog, Scope("default"))
    assert not catalog.execute("SELECT 1 FROM passages UNION SELECT 1 FROM locations").fetchone()


WHERE = st.sampled_from(["image", "ocr", "speech", "name"])
EVIDENCE = st.builds(
    lambda asset, by, where, score: Evidence(asset, by, Match(where, score)),
    st.integers(1, 4), st.sampled_from(["words", "space"]), WHERE, st.floats(0, 1),
)  # fmt: skip


@bounded
@given(evidence=st.lists(EVIDENCE, max_size=12), more=EVIDENCE, order=st.randoms())
def test_more_evidence_never_lowers_a_score_and_its_order_is_nothing(
    evidence: list[Evidence], more: Evidence, order: object
) -> None:
    ranked = fuse(evidence)
    scores = {asset: score for asset, score, _ in ranked}
    assert set(scores) == {piece.asset for piece in evidence}
    assert len(scores) == len(ranked)
    assert [score for _, score, _ in ranked] == sorted(scores.values(), reverse=True)
    assert all(0 <= score <= 1 for score in scores.values())
    after = {asset: score for asset, score, _ in fuse([*evidence, more])}
    assert all(after[asset] >= score - 1e-12 for asset, score in scores.items())
    mixed = list(evidence)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    assert {asset: score for asset, score, _ in fuse(mixed)} == pytest.approx(scores)


FILES = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["default", "other"]), st.booleans(), st.integers(0, 3)),
    max_size=8,
)


@pytest.mark.slow
@bounded
@given(files=FILES, kind=st.sampled_from([None, "image", "video"]), since=st.none() | st.integers(0, 3))
def test_a_search_answers_with_what_is_there_in_the_library_of_the_kind_and_new_enough(
    catalog: sqlite3.Connection, files: list[tuple[int, str, bool, int]], kind: str | None, since: int | None
) -> None:
    with transaction(catalog):
        kinds = {1: "image", 2: "video", 3: "audio"}
        ids = {number: assets.add(catalog, f"h{number}", kinds[number], 1, {}) for number in kinds}
        for at, (number, library, gone, when) in enumerate(files):
            name = b"%d.jpg" % at
            locations.enqueue(catalog, library, 1, "job", [Candidate(b"/a", name, 1, when * 10**9, None)])
            catalog.execute("UPDATE locations SET asset = ? WHERE name = ?", (ids[number], name))
            if gone:
                locations.mark_gone(catalog, library, b"/a", [name])
        request = Request("x", kind=kind, since=since)  # type: ignore[arg-type]
        passed = Filter(catalog, request).all.tolist()
        catalog.execute("DELETE FROM locations")
    there = [file for file in files if file[1] == "default" and not file[2]]
    assert set(passed) == {
        ids[number]
        for number, _, _, when in there
        if kind in (None, kinds[number]) and (since is None or when >= since)
    }
