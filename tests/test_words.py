"""Full text: what stands in a file or its name is found by typing it, in whatever form, and marked."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as some

from mediaflow.catalog import assets, locations, passages
from mediaflow.catalog.database import connect, transaction
from mediaflow.catalog.locations import Candidate
from mediaflow.catalog.passages import Passage
from mediaflow.search import words
from mediaflow.search.filters import Condition
from mediaflow.search.highlight import mark
from mediaflow.search.query import query_words
from mediaflow.search.words import search_names, search_passages
from tests.test_search import add

EVERY = Condition("1", ())

LETTER = """Sehr geehrter Herr Müller-
Lüdenscheidt, wegen der Wohnungsbesich-
tigung am Freitag: die Versicherungsbestäti\u00ad
gung und die Heizkosten\u2010
abrechnung liegen bei. Ein- und Ausgang
Kundennummer 4711-0815, 2.345 kWh, 1.234,56 €, 70 m², CO₂ bei 20 °C"""
NAMES = {
    "Urlaub_Muenchen_2019.png",
    "Größe Jäger.png",
    unicodedata.normalize("NFD", "Café Renée.png"),
    "ガソリンスタンド.png",
    "東京タワー2020.png",
    "กรุงเทพมหานคร.jpg",
    "서울시청사진.jpg",
    "ﬁnale Fassung.png",
    "İSTANBUL.png",
    "Łódź og Ærø.png",
    "Torte 🎂 5 €.png",
    "C++ Notizen.png",
    "हिन्दी किताब.pdf.png",
    "neue Poet Israel aktuell.png",
}


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    with closing(connect(tmp_path_factory.mktemp("words") / "catalog.sqlite")) as db:
        add(db, "/a/letter.png", ocr=LETTER)
        add(db, "/a/other.png", ocr="Wohnung, Besichtigung und Bestätigung, 0815 und 4711, 56 und 234 und 1")
        for name in NAMES:
            add(db, f"/b/{name}")
        yield db


@pytest.mark.parametrize(
    "query",
    [
        *("Wohnungsbesichtigung", "WOHNUNGSBESICHTIGUNG", "Versicherungsbestätigung"),
        *(
            "Versicherungsbestaetigung",
            "Heizkostenabrechnung",
            "Müller-Lüdenscheidt",
            "Mueller-Luedenscheidt",
        ),
        *("Müller", "Mueller", "muller", "Lüdenscheidt", "Ein- und Ausgang", "4711-0815", "1.234,56"),
        *("2.345 kWh", "m²", "m2", "CO₂", "CO2", "20 °C", "1.234,56 €"),
    ],
)
def test_what_a_letter_says_is_found_as_it_is_typed(db: sqlite3.Connection, query: str) -> None:
    [best, *others] = search_passages(db, query, ["ocr"], EVERY)
    assert (best.text, best.score) == (LETTER, pytest.approx(1))
    assert all(hit.score < best.score for hit in others)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("München", "Urlaub_Muenchen_2019.png"),
        ("munchen", None),
        ("Groesse", "Größe Jäger.png"),
        ("GROESSE JAEGER", "Größe Jäger.png"),
        ("Grösse", "Größe Jäger.png"),
        ("Café", "Café Renée.png"),
        (unicodedata.normalize("NFD", "Renée"), "Café Renée.png"),
        ("ガソリン", "ガソリンスタンド.png"),
        ("スタンド", "ガソリンスタンド.png"),
        ("ｶﾞｿﾘﾝ", "ガソリンスタンド.png"),
        ("タワー", "東京タワー2020.png"),
        ("東京", "東京タワー2020.png"),
        ("京", "東京タワー2020.png"),
        ("タワー2020", "東京タワー2020.png"),
        ("東京のタワー", "東京タワー2020.png"),
        ("มหานคร", "กรุงเทพมหานคร.jpg"),
        ("시청", "서울시청사진.jpg"),
        (unicodedata.normalize("NFD", "사진"), "서울시청사진.jpg"),
        ("ﬁnale", "ﬁnale Fassung.png"),
        ("finale", "ﬁnale Fassung.png"),
        ("istanbul", "İSTANBUL.png"),
        ("İSTANBUL", "İSTANBUL.png"),
        ("Lodz", "Łódź og Ærø.png"),
        ("Aeroe", "Łódź og Ærø.png"),
        ("🎂", "Torte 🎂 5 €.png"),
        ("€", "Torte 🎂 5 €.png"),
        ("C++", "C++ Notizen.png"),
        ("किताब", "हिन्दी किताब.pdf.png"),
        ("neue", "neue Poet Israel aktuell.png"),
        ("Poet", "neue Poet Israel aktuell.png"),
        ("Israel aktuell", "neue Poet Israel aktuell.png"),
        ("Pot", None),
        ("Nü", None),
    ],
)
def test_a_name_is_found_by_what_is_typed(db: sqlite3.Connection, query: str, name: str | None) -> None:
    found = [unicodedata.normalize("NFC", hit.text) for hit in search_names(db, query, EVERY)]
    assert [text.strip() for text in found[:1]] == ([f"{name} b"] if name else [])


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("Herr Müller kommt", "Mueller", "Herr [Müller] kommt"),
        ("Herr Mu\u0308ller, kommt", "müller", "Herr [Mu\u0308ller], kommt"),
        ("Rechnungen (alt)", "Rechnung", "[Rechnungen] (alt)"),
        ("Wohnungsbesich- tigung am", "Wohnungsbesichtigung", "[Wohnungsbesich]- [tigung] am"),
        ("die ガソリンスタンド hier", "スタンド", "die ガソリン[スタンド] hier"),
        ("東京タワー2020.png", "タワー2020", "東京[タワー][2020].png"),
        ("Urlaub_Muenchen_2019", "München", "Urlaub_[Muenchen]_2019"),
        ("Messung CO₂, 70 m²", "m2 co2", "Messung [CO₂], 70 [m²]"),
        ("Torte 🎂!", "🎂", "Torte [🎂]!"),
        ("Woh\u00adnung frei", "wohnung", "[Woh\u00adnung] frei"),
        ("nothing here", "else", "nothing here"),
    ],
)
def test_the_words_of_a_query_are_marked_as_they_stand(text: str, query: str, marked: str) -> None:
    assert mark(text, query, "[", "]") == marked


ALPHABETS = [
    "aäöüßéñçøåæłđħıŋğşİẞĲǆ",
    "ﬁﬂ½²₂³ªº№™℃㎏Ⅳ①",
    "ΑΣσςάώᾳΐ",
    "ЖёйїљҐ",
    "אבָּשׁ",
    "مُحَـأإؤ٣",
    "हिन्दीक़ॐ१",
    "ไทยกำน้",
    "ລາວ",
    "ខ្មែរ",
    "မြန်မာ",
    "한국어서울",
    "東京大阪北京",
    "がぱガソリンー",
    "ｶﾞｿﾘﾝﾟ",
    "abcXYZ019",
    "€$+°☃🎂👍",
]
WORD = some.one_of(
    *(some.text(alphabet, min_size=1, max_size=8) for alphabet in ALPHABETS),
    some.text(some.sampled_from("".join(ALPHABETS)), min_size=1, max_size=8),
    some.text(some.characters(categories=["L", "M", "N", "S"]), min_size=1, max_size=8),
)
TYPED = [
    *(lambda word, form=form: unicodedata.normalize(form, word) for form in ("NFC", "NFD", "NFKC")),
    *(str.upper, str.lower, str),
]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some.lists(WORD, min_size=1, max_size=4), some.data())
@example(["Foo™", "x"], None)
@example(["ŉ", "ĲSSEL"], None)
def test_every_word_of_a_text_finds_it_in_every_form(
    db: sqlite3.Connection, text: list[str], data: object
) -> None:
    word = data.draw(some.sampled_from(text)) if data else text[0]
    assume(query_words(word))
    written = " ".join(text)
    with transaction(db):
        passages.replace(db, 1, "speech", [Passage(written)])
        for form in TYPED:
            hits = search_passages(db, form(word), ["speech"], EVERY)
            assert [(hit.text, round(hit.score, 6)) for hit in hits] == [(written, 1)], ascii(form(word))
            assert mark(written, form(word), "", "") == written
        passages.replace(db, 1, "speech", [])


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """120 files: a word in all, one in every second, one in every twentieth."""
    with closing(connect(tmp_path_factory.mktemp("pile") / "catalog.sqlite")) as db, transaction(db):
        for number in range(120):
            text = f"common {'half' if number % 2 else ''} {'rare' if number % 20 == 3 else ''} n{number}"
            add(db, f"/a/{number} common.png", ocr=text)
        yield db


QUERIES = [
    "common",
    "half",
    "rare",
    "common half",
    "common rare",
    "half rare common",
    "n7 common",
    "absent half",
]


@pytest.mark.parametrize("limits", ["large", "small", "smallest"])
@pytest.mark.parametrize("query", QUERIES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(passing=some.sets(some.integers(1, 120)))
def test_a_filter_loses_no_hit_that_passes(
    pile: sqlite3.Connection, limits: str, query: str, passing: set[int]
) -> None:
    """However few rows of a word are looked at, and however few files pass."""
    condition = Condition(f"asset IN ({','.join('?' * len(passing))})", tuple(passing))
    with pytest.MonkeyPatch.context() as patch:
        everything = search_passages(pile, query, ["ocr"], EVERY)
        names = search_names(pile, query, EVERY)
        if limits != "large":
            patch.setattr(words, "MAX_ROWS", 10)
            patch.setattr(words, "MAX_FEW_ROWS", 3 if limits == "smallest" else 40)
        found = search_passages(pile, query, ["ocr"], condition)
        assert {hit.asset for hit in found} == {hit.asset for hit in everything} & passing
        by_location = Condition(f"library = ? AND gone IS NULL AND {condition.sql}", ("default", *passing))
        found = search_names(pile, query, by_location)
        assert {hit.asset for hit in found} == {hit.asset for hit in names} & passing


@pytest.mark.parametrize("condition", ["1", "asset IN (SELECT l.asset FROM locations l WHERE l.size > 5)"])
@pytest.mark.parametrize("query", ["common", "common half rare"])
def test_no_statement_reads_a_whole_table_of_texts(
    pile: sqlite3.Connection, query: str, condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "MAX_ROWS", 10)
    monkeypatch.setattr(words, "MAX_FEW_ROWS", 15)
    statements: list[str] = []
    pile.set_trace_callback(statements.append)
    search_passages(pile, query, ["ocr"], Condition(condition, ()))
    search_names(pile, query, Condition(condition, ()))
    pile.set_trace_callback(None)
    asked = [statement for statement in statements if statement.startswith("SELECT")]
    assert len(asked) > 8
    for statement in asked:
        plan = [row["detail"] for row in pile.execute(f"EXPLAIN QUERY PLAN {statement}")]
        scans = [line for line in plan if line.startswith("SCAN") and "VIRTUAL TABLE" not in line]
        assert all(line.split()[1] in ("l", "assets") for line in scans), (statement, plan)


@pytest.mark.parametrize("query", ["common rare", "half rare common", "n7 common"])
def test_the_rows_with_most_of_the_query_come_first_however_common_its_words(
    pile: sqlite3.Connection, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "MAX_ROWS", 10)
    best = search_passages(pile, query, ["ocr"], EVERY)[0]
    assert best.score == pytest.approx(1)
    assert set(query.split()) <= set(best.text.split())


@pytest.mark.parametrize("query", ["\0", "\ud800", '"', "!?", "_", "\u0301", "*^:()", "\x01\x02", "¨"])
def test_a_query_without_words_finds_nothing(db: sqlite3.Connection, query: str) -> None:
    assert search_passages(db, query, ["ocr"], EVERY) == search_names(db, query, EVERY) == []
    assert mark("a text", query, "[", "]") == "a text"


def test_a_name_that_is_no_text_is_found_by_the_words_in_it(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "catalog.sqlite")) as db:
        file = Candidate(b"/a", b"caf\xe9 Rechnung.png", 1, 1, None)
        [location] = locations.enqueue(db, "default", 1, "job", [file])
        locations.prepared(db, location, assets.add(db, "hash", "image", 1, {}))
        assert len(search_names(db, "Rechnung", EVERY)) == 1
