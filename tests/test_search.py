"""Search by words and filters, without models: nothing was embedded, so none is loaded."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mediaflow.catalog import assets, findings, locations, passages, work
from mediaflow.catalog.database import connect
from mediaflow.catalog.locations import Candidate
from mediaflow.catalog.passages import Passage
from mediaflow.errors import UsageError
from mediaflow.search.engine import Searcher
from mediaflow.search.filters import Condition
from mediaflow.search.highlight import mark
from mediaflow.search.query import query_words
from mediaflow.search.request import Request, Result
from mediaflow.search.words import search_names, search_passages

EVERY = Condition("1", ())
OLD, NEW = datetime(2020, 5, 1).timestamp(), datetime(2024, 5, 1).timestamp()  # noqa: DTZ001 - local, as files are


def add(
    db: sqlite3.Connection,
    path: str,
    ocr: str = "",
    speech: str = "",
    kind: str = "image",
    when: float = NEW,
    taken: str | None = None,
    library: str = "default",
) -> int:
    """A prepared file with text on it, or in it."""
    folder, name = os.path.split(os.fsencode(path))
    [id] = locations.enqueue(db, library, 1, "job", [Candidate(folder, name, 1, int(when * 1e9), None)])
    asset = assets.add(db, f"{path}-{kind}", kind, 1, {"taken": taken} if taken else {})
    locations.prepared(db, id, asset)
    if ocr:
        passages.replace(db, asset, "ocr", [Passage(ocr, 2)])
    if speech:
        passages.replace(db, asset, "speech", [Passage(speech, None, 3.0, 5.5)])
    return asset


@pytest.fixture
def pile(db: sqlite3.Connection) -> sqlite3.Connection:
    """A small catalog in German and English."""
    add(db, "/a/invoice.png", ocr="Invoice number 4711, total amount 12.50")
    add(db, "/a/rechnung.png", ocr="Rechnungen über Käse und Straßenbahnfahrten")
    add(db, "/b/talk.mp3", speech="We were talking about the harvest of apples", kind="audio", when=OLD)
    add(db, "/b/urlaub-rom.mp4", speech="Wir waren in Rom", kind="video", taken="2019-07-01T10:00:00")
    return db


def search(db: sqlite3.Connection, text: str, **filters: object) -> list[Result]:
    return Searcher(db).search(Request(text=text, **filters)).results  # type: ignore[arg-type]


def names(db: sqlite3.Connection, text: str, **filters: object) -> list[str]:
    return [Path(result.path).name for result in search(db, text, **filters)]


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("the total amount of the invoice", "invoice.png"),
        ("4711", "invoice.png"),
        ("Rechnung", "rechnung.png"),
        ("RECHNUNGEN", "rechnung.png"),
        ("kase", "rechnung.png"),
        ("Strassenbahn", "rechnung.png"),
        ("what did they say about apples", "talk.mp3"),
        ("Urlaub", "urlaub-rom.mp4"),
        ("wann waren wir in Rom", "urlaub-rom.mp4"),
    ],
)
def test_german_and_english_questions_find_the_file(pile: sqlite3.Connection, query: str, best: str) -> None:
    assert names(pile, query)[0] == best


def test_a_match_says_where_it_was_found(pile: sqlite3.Connection) -> None:
    [result] = search(pile, "harvest", where="speech")
    assert result.as_json()["matches"][0] | {"score": 0} == {
        "in": "speech",
        "score": 0,
        "text": "We were talking about the harvest of apples",
        "start": 3.0,
        "end": 5.5,
    }
    [result] = search(pile, "4711", where="ocr")
    assert result.as_json()["matches"][0]["page"] == 2


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, {"talk.mp3"}),
        ({"kind": "audio"}, {"talk.mp3"}),
        ({"kind": "image"}, set()),
        ({"where": "speech"}, {"talk.mp3"}),
        ({"where": "ocr"}, set()),
        ({"where": "name"}, set()),
        ({"library": "other"}, set()),
        ({"since": NEW}, set()),
        ({"since": OLD}, {"talk.mp3"}),
    ],
)
def test_filters(pile: sqlite3.Connection, filters: dict[str, object], found: set[str]) -> None:
    assert set(names(pile, "harvest", **filters)) == found


def test_since_goes_by_when_it_was_taken_where_that_is_known(pile: sqlite3.Connection) -> None:
    assert names(pile, "Rom", since=OLD) == []
    assert names(pile, "Rom", since=datetime(2019, 1, 1).timestamp()) == ["urlaub-rom.mp4"]  # noqa: DTZ001


def test_safe_lets_through_only_what_was_looked_at(db: sqlite3.Connection) -> None:
    for name, verdict in (("safe", "safe"), ("unsafe", "unsafe"), ("unknown", None), ("sound", "skipped")):
        asset = add(db, f"/a/{name}.png", ocr="harvest")
        if verdict == "skipped":
            work.skip(db, asset, "nsfw", "m")
        elif verdict:
            findings.store(db, asset, "nsfw", "m", {"score": 0.5, "verdict": verdict, "worst": []}, 1.0)
    assert set(names(db, "harvest", safe=True)) == {"safe.png", "sound.png"}


def test_copies_are_one_result_and_what_is_gone_is_none(db: sqlite3.Connection) -> None:
    asset = add(db, "/a/x.png", ocr="harvest")
    [id] = locations.enqueue(db, "default", 1, "job", [Candidate(b"/a/deep", b"copy.png", 1, 1, None)])
    locations.prepared(db, id, asset)
    assert names(db, "harvest") == ["x.png"]
    locations.mark_gone(db, "default", b"/a", [b"x.png"])
    assert names(db, "harvest") == ["copy.png"]
    locations.mark_gone(db, "default", b"/a/deep", [b"copy.png"])
    assert names(db, "harvest") == []


def test_there_are_no_more_results_than_asked_for(db: sqlite3.Connection) -> None:
    for number in range(30):
        add(db, f"/a/{number}.png", ocr=f"harvest {number}")
    assert len(names(db, "harvest", limit=7)) == 7
    assert len(names(db, "harvest", limit=100)) == 30


def test_asking_for_nothing_is_wrong_usage(pile: sqlite3.Connection) -> None:
    for text in ("", "  ", "\n"):
        with pytest.raises(UsageError, match="Ask for something"):
            search(pile, text)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    with closing(connect(tmp_path_factory.mktemp("words") / "catalog.sqlite")) as db:
        add(db, "/a/invoice.png", ocr='NEAR "quoted" AND (brackets) -minus col:umn * star ^ caret')
        yield db


SYNTAX = some.lists(
    some.sampled_from(
        [
            '"',
            "'",
            "(",
            ")",
            "*",
            "^",
            ":",
            "-",
            "+",
            "{",
            "}",
            "AND",
            "OR",
            "NOT",
            "NEAR",
            "NEAR/2",
            "text",
            " ",
            "\x00",
        ]
    )
    | some.text(max_size=8),
    max_size=12,
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(query=SYNTAX)
def test_no_query_is_syntax(shared: sqlite3.Connection, query: str) -> None:
    for hit in [
        *search_passages(shared, query, ["ocr", "speech"], EVERY),
        *search_names(shared, query, EVERY),
    ]:
        assert 0 <= hit.score <= 1
    assert (
        mark("a quoted text", query, "\x02", "\x03").replace("\x02", "").replace("\x03", "")
        == "a quoted text"
    )


@settings(max_examples=200, deadline=None)
@given(query=some.text(max_size=200))
def test_any_text_can_be_asked_for(shared: sqlite3.Connection, query: str) -> None:
    if query_words(query):
        Searcher(shared).search(Request(text=query, where="name"))


def test_a_query_of_ten_thousand_words_is_answered(shared: sqlite3.Connection) -> None:
    started = time.monotonic()
    search_passages(shared, " ".join(f"word{n}" for n in range(10_000)), ["ocr"], EVERY)
    assert time.monotonic() - started < 5
