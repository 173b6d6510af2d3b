"""Text normalization: whatever form a word is typed in, it becomes the tokens of the same word elsewhere."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mediaflow.catalog.schema import MIGRATIONS
from mediaflow.search.query import units
from mediaflow.text import SYMBOLS, document, fold

FORMS = [
    *(lambda text, form=form: unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")),
    *(str.upper, str.lower, str.title, str.swapcase, str.casefold),
]


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("Müller", "muller"),
        ("Größe", "GROSSE"),
        ("STRAẞE", "Straße"),
        ("ŁÓDŹ", "Lodz"),
        ("Tromsø", "tromso"),
        ("Ħal Għargħur", "hal ghargħur"),
        ("Đorđe", "Dorde"),
        ("İSTANBUL", "istanbul"),
        ("ISPARTA", "ısparta"),
        ("ΟΔΥΣΣΕΥΣ", "Ὀδυσσεύς"),
        ("CO₂", "co2"),
        ("70 m²", "70 M2"),
        ("ﬁnale", "FINALE"),
        ("½ Liter", "1/2 liter"),
        ("ＡＢＣ１２３", "abc123"),
        ("Ⅳ. Kapitel", "IV kapitel"),
        ("№ 5", "No 5"),
        ("20℃", "20°C"),
        ("O’Brien", "O'Brien"),
        ("L‘été „rouge“", "l'ete rouge"),
        ("Woh\xadnung", "Wohnung"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("nim\u200dbus", "nimbus"),
        ("Tiếng Việt", "tieng viet"),
        ("Ёлка", "елка"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        ("محـــمد", "محمد"),
        ("٢٠٢٤", "2024"),
        ("क़लम", "कलम"),
        ("ｶﾞｿﾘﾝ", "ガソリン"),
        ("❤️", "❤"),
        ("👍🏽", "👍"),
    ],
)
def test_spellings_of_a_word_are_one(written: str, typed: str) -> None:
    assert fold(written).split() == fold(typed).split() != []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("バス", "ハス"),
        ("क्या", "कया"),
        ("ข้าว", "ขาว"),
        ("Poet", "Pöt"),
        ("neue", "nü"),
        ("E5", "E₆"),
        ("€", "$"),
    ],
)
def test_words_that_differ_stay_apart(one: str, other: str) -> None:
    assert fold(one).split() != fold(other).split()


@pytest.mark.parametrize("place", range(0, sys.maxunicode, 0x4000))
def test_every_character_is_the_same_in_every_form(place: int) -> None:
    for code in range(place, min(place + 0x4000, 0x20000 if place < 0x20000 else place + 0x40)):
        character = chr(code)
        expected = fold(character).split()
        assert fold(" ".join(expected)).split() == expected, hex(code)
        assert all(fold(form(character)).split() == expected for form in FORMS), hex(code)


@settings(max_examples=300, deadline=None)
@given(some.text(some.characters(), max_size=40))
def test_no_token_is_split_by_the_tokenizer_of_sqlite(text: str) -> None:
    assert any(f"tokenchars '{SYMBOLS}'" in script for script in MIGRATIONS)
    for token in [*document(text).split(" "), *(form for unit in units(text) for form in unit.forms)]:
        assert all(not c.isascii() or c.isalnum() or c in SYMBOLS or c == " " for c in token)
        assert token == token.lower()


def test_umlauts_have_both_spellings_and_no_other_word_has() -> None:
    assert set(document("Müller Größe Århus Tromsø").split()) == {
        *("muller", "mueller", "grosse", "groesse", "arhus", "aarhus", "tromso", "tromsoe"),
    }
    assert document("neue Poet Israel aktuell Mueller") == "neue poet israel aktuell mueller"


@pytest.mark.parametrize("hyphen", ["-", "\u2010", "¬", "\xad", "-\u200b", "=", "⸗", "–"])
@pytest.mark.parametrize("end", ["\n", " \n ", "\r\n", "\u2028", "\n\n"])
def test_a_word_that_is_divided_at_the_end_of_a_line_is_whole_too(hyphen: str, end: str) -> None:
    text = f"wegen der Wohnungsbesich{hyphen}{end}tigung, am Freitag"
    assert "wohnungsbesichtigung" in document(text).split()


def test_both_ways_to_read_a_hyphen_at_the_end_of_a_line_are_there() -> None:
    assert {"muller", "ludenscheidt", "mullerludenscheidt", "muellerluedenscheidt"} <= set(
        document("Herr Müller-\nLüdenscheidt").split()
    )
    assert document("Ein- und Ausgang") == "ein und ausgang"
    assert document("one -\ntwo") == "one two"


def test_a_word_may_be_divided_more_than_once_and_between_passages() -> None:
    words = document("Donau-\ndampf-\nschiff fährt").split()
    assert {"donaudampfschiff", "donaudampf", "dampfschiff"} <= set(words)
    assert "bestatigung" in document("die Bestä-", "tigung liegt bei").split()
    assert "タワ" in document("東京タ", "ワーの写真").split()


def test_scripts_without_spaces_run_on_over_the_ends_of_lines() -> None:
    assert document("東京\nタワー") == document("東京タワー") == "東京 京タ タワ ワー ー"
    assert document("東京\nTower") == "東京 京 tower"


def test_a_raised_sign_is_part_of_the_word_before_it_and_is_not() -> None:
    assert document("Haus¹ Logo™ 70 m²") == "haus1 logotm 70 m2 haus logo m"
