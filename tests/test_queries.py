"""A query is data: whatever is typed, it is neither an error nor taken for the syntax of full text search."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from mediaflow.catalog import assets, database, locations, passages
from mediaflow.catalog.locations import Candidate
from mediaflow.catalog.passages import Passage
from mediaflow.search import query as limits
from mediaflow.search.filters import Condition
from mediaflow.search.highlight import mark
from mediaflow.search.query import query_words
from mediaflow.search.words import search_names, search_passages

SYNTAX = [
    '"', "*", "AND", "OR", "NOT", "NEAR", "NEAR(a b, 2)", "(", ")", "^", "+", "-", ":", "{text} :",
    "words:", "\0",
    "'", ";", "--", "text : secret", "-text", '""', "a*", "cat", "secret", "ß", "ss", "_", "\ud800", "ŉ", "ﷺ",
]  # fmt: skip
# Any text, and texts made of what means something to FTS5.
queries = some.one_of(
    some.text(some.characters(), max_size=200),
    some.lists(some.sampled_from(SYNTAX), max_size=12).map(" ".join),
    some.lists(some.sampled_from(SYNTAX), max_size=12).map("".join),
)

EVERY = Condition("1", ())


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A catalog with one passage, `secret`, and one file, `cat.png`."""
    with closing(database.connect(tmp_path_factory.mktemp("catalog") / "catalog.sqlite")) as connection:
        [location] = locations.enqueue(
            connection, "default", 1, "j", [Candidate(b"/a", b"cat.png", 1, 1, None)]
        )
        asset = assets.add(connection, "x", "image", 1, {})
        locations.prepared(connection, location, asset)
        passages.replace(connection, asset, "ocr", [Passage("secret")])
        yield connection


@given(queries)
@example('text : "')
@example("NEAR(secret cat)")
@example("\0")
@settings(max_examples=400, deadline=None)
def test_no_query_breaks_the_syntax_of_full_text_search(db: sqlite3.Connection, query: str) -> None:
    for hit in search_passages(db, query, ["ocr", "speech"], EVERY) + search_names(db, query, EVERY):
        assert 0 < hit.score <= 1.0000001
    mark("a secret cat", query, "<", ">")


@given(some.lists(some.sampled_from([word for word in SYNTAX if "secret" not in word]), max_size=8))
@settings(max_examples=200, deadline=None)
def test_operators_neither_exclude_nor_find_anything(db: sqlite3.Connection, syntax: list[str]) -> None:
    assert not search_passages(db, " ".join(syntax), ["ocr"], EVERY)
    assert search_passages(db, " ".join([*syntax, "secret"]), ["ocr"], EVERY)


@pytest.mark.parametrize("length", [10_000, 3_000_000])
def test_a_query_as_long_as_a_book_is_bounded(db: sqlite3.Connection, length: int) -> None:
    for query in ("secret " + "a" * length, "secret " + " ".join(f"w{n}" for n in range(length // 6))):
        started = time.monotonic()
        assert search_passages(db, query, ["ocr"], EVERY)
        search_names(db, query, EVERY)
        assert time.monotonic() - started < 10
        assert max(map(len, query_words(query))) <= limits.MAX_CHARACTERS
        assert len(query_words(query)) <= limits.MAX_WORDS
