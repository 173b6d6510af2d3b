"""Names of files as they are shown: whatever bytes they are, a terminal gets printable characters only."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as some

from mediaflow.names import readable


@given(some.binary(max_size=60))
def test_any_bytes_are_shown_in_printable_characters(name: bytes) -> None:
    shown = readable(name)
    assert all(letter.isprintable() or letter in "\xad\u200c\u200d\u3000\xa0" for letter in shown)
    shown.encode("utf-8")
    assert readable(os.fsdecode(name)) == shown


def test_ordinary_names_are_shown_as_they_are() -> None:
    for name in ("Büro/Größe 1.jpg", "日本語.png", "👩‍👧.heic", "a b.txt"):
        assert readable(name) == name


def test_what_is_no_text_or_moves_the_cursor_is_escaped() -> None:
    assert readable(b"caf\xe9") == "caf\\xe9"
    assert readable("a\nb\x1b[2J") == "a\\nb\\x1b[2J"
    assert readable("exe\u202egpj") == "exe\\u202egpj"


def test_what_turns_the_direction_of_text_is_escaped() -> None:
    for letter in "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
        assert readable(f"a{letter}b") == f"a\\u{ord(letter):04x}b"
