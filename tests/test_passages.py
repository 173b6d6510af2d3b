"""Passages: text cut into pieces that name their page or second, and found by their words."""

from __future__ import annotations

import sqlite3

import pytest

from mediaflow.catalog import assets, passages
from mediaflow.catalog.passages import MAX_CHARACTERS, Passage
from mediaflow.search.filters import Condition
from mediaflow.search.words import search_passages


@pytest.fixture
def asset(db: sqlite3.Connection) -> int:
    return assets.add(db, "hash", "image", 1, {})


def ocr(*lines: tuple[str, int | None, float | None]) -> dict[str, object]:
    return {"lines": [{"text": text, "page": page, "time": time} for text, page, time in lines]}


def test_lines_of_a_page_are_one_passage_and_pages_are_not_mixed() -> None:
    cut = passages.cut("ocr", ocr(("Total", 1, None), ("12,50", 1, None), ("Page two", 2, None)))
    assert cut == [Passage("Total\n12,50", 1), Passage("Page two", 2)]


def test_text_of_another_moment_of_a_video_is_another_passage() -> None:
    cut = passages.cut("ocr", ocr(("Title", None, 1.0), ("by me", None, 1.0), ("The end", None, 60.0)))
    assert cut == [Passage("Title\nby me", None, 1.0, 1.0), Passage("The end", None, 60.0, 60.0)]


def test_speech_runs_on_to_a_length_that_a_search_can_answer_with() -> None:
    segments = [{"text": f" sentence {n} " + "x" * 80, "start": float(n), "end": n + 1.0} for n in range(10)]
    cut = passages.cut("transcribe", {"segments": segments})
    assert all(len(passage.text) <= MAX_CHARACTERS for passage in cut)
    assert len(cut) > 1
    assert (cut[0].start, cut[-1].end) == (0.0, 10.0)
    assert [passage.start for passage in cut[1:]] == [passage.end for passage in cut[:-1]]


def test_empty_lines_say_nothing() -> None:
    assert passages.cut("ocr", ocr(("", 1, None))) == []
    assert passages.cut("transcribe", {"segments": [{"text": "  ", "start": 0.0, "end": 1.0}]}) == []


def test_a_task_without_text_has_no_passages() -> None:
    assert passages.cut("nsfw", {"score": 0.1}) == []


def test_the_same_text_again_changes_nothing_and_another_takes_its_place(
    db: sqlite3.Connection, asset: int
) -> None:
    assert passages.replace(db, asset, "ocr", [Passage("Rechnung", 1)])
    assert not passages.replace(db, asset, "ocr", [Passage("Rechnung", 1)])
    assert passages.replace(db, asset, "ocr", [Passage("Quittung", 1)])
    assert [row["text"] for row in passages.of(db, asset, "ocr")] == ["Quittung"]


def test_words_of_replaced_text_are_not_found_any_more(db: sqlite3.Connection, asset: int) -> None:
    query = "SELECT COUNT(*) FROM passages_words WHERE passages_words MATCH ?"
    passages.replace(db, asset, "ocr", [Passage("Rechnung für Käse")])
    assert db.execute(query, ("kase",)).fetchone()[0] == 1
    passages.replace(db, asset, "ocr", [Passage("Quittung")])
    assert db.execute(query, ("kase",)).fetchone()[0] == 0
    assets.forget(db, asset)
    assert db.execute(query, ("quittung",)).fetchone()[0] == 0


def test_a_word_divided_between_passages_and_pages_is_found_and_shown_as_read(
    db: sqlite3.Connection, asset: int
) -> None:
    long = "x" * MAX_CHARACTERS
    lines = ocr((long, 1, None), ("die Versicherungs-", 1, None), ("bestätigung und Heizkosten-", 2, None))
    lines["lines"] += ocr(("abrechnung " + long, 3, None))["lines"]  # type: ignore[operator]
    passages.replace(db, asset, "ocr", passages.cut("ocr", lines))
    assert len(passages.of(db, asset, "ocr")) == 4
    for query, page, text in (
        ("Versicherungsbestätigung", 1, "die Versicherungs-"),
        ("Heizkostenabrechnung", 2, "bestätigung und Heizkosten-"),
    ):
        [hit] = search_passages(db, query, ["ocr"], Condition("1", ()))
        assert (hit.page, hit.text) == (page, text)
