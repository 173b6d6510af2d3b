"""A query is data: whatever is typed, it is neither an error nor taken for the syntax of full text search."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from mediaflow.catalog import database
from mediaflow.search import words
from mediaflow.search.filters import Condition
from mediaflow.search.words import _match, mark, query_words, search_names, search_passages

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
        connection.executescript("""
            INSERT INTO assets (id, hash, kind, bytes, media, added) VALUES (1, 'x', 'image', 1, '{}', 0);
            INSERT INTO locations (library, folder, name, words, size, mtime_ns, asset, state, changed)
                VALUES ('default', '/a', 'cat.png', 'cat.png a', 1, 1, 1, 'done', 0);
        """)
        columns = {row[1] for row in connection.execute("PRAGMA table_info(passages)")}
        values = {"asset": 1, "source": "ocr", "ordinal": 0, "text": "secret"}
        named = {key: value for key, value in values.items() if key in columns}
        connection.execute(
            f"INSERT INTO passages ({', '.join(named)}) VALUES ({', '.join('?' * len(named))})",
            list(named.values()),
        )
        yield connection


@given(some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
@example("AND")
@example('"')
@example("a:b*")
@settings(max_examples=300, deadline=None)
def test_a_word_is_a_word_to_the_index_whatever_is_in_it(db: sqlite3.Connection, word: str) -> None:
    db.execute("SELECT 1 FROM passages_words WHERE passages_words MATCH ?", (_match([word]),)).fetchall()


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
        assert max(map(len, query_words(query))) <= words.MOST_CHARACTERS
        assert len(query_words(query)) <= words.MOST_WORDS


def test_a_quote_in_a_word_stays_a_letter_of_it(db: sqlite3.Connection) -> None:
    assert words._match(['a" OR "secret']) == '"a"" OR ""secret"*'
