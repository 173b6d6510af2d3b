"""Highlighting: a text as displayed, with the words of a query marked."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mediaflow.search.query import Unit, query_units, units
from mediaflow.text import HYPHENS, fold, is_unspaced

_DIVIDED = re.compile(f"[{re.escape(HYPHENS)}]+\\s+")


@dataclass(slots=True)
class _Run:
    """A word in its original form, in one kind of script: the ends of its characters, and each one folded."""

    start: int
    ends: list[int]
    folded: list[str]

    def text(self) -> str:
        return "".join(self.folded)


def mark(text: str, query: str, opening: str, closing: str) -> str:
    """The text with the words of the query between two marks."""
    words, _ = query_units(query)
    spans = _spans(text, words) if words else []
    for start, end in sorted(set(spans), reverse=True):
        text = f"{text[:start]}{opening}{text[start:end]}{closing}{text[end:]}"
    return text


def _spans(text: str, words: Sequence[Unit]) -> list[tuple[int, int]]:
    """The spans of the query's words, without overlaps, in order."""
    runs = list(_runs(text))
    found = []
    for number, run in enumerate(runs):
        if is_unspaced(run.text()):
            found += _within(run, words)
        elif _is_one_of(text[run.start : run.ends[-1]], words):
            found.append((run.start, run.ends[-1]))
        elif number + 1 < len(runs):
            following = runs[number + 1]
            parts = (text[run.start : run.ends[-1]], text[following.start : following.ends[-1]])
            if _DIVIDED.fullmatch(text, run.ends[-1], following.start) and _is_one_of("".join(parts), words):
                found += [(run.start, run.ends[-1]), (following.start, following.ends[-1])]
    return found


def _is_one_of(word: str, words: Sequence[Unit]) -> bool:
    forms = {form for unit in units(word) for form in unit.forms}
    return any(
        form == wanted or (unit.prefix and form.startswith(wanted))
        for unit in words
        for wanted in unit.forms
        for form in forms
    )


def _within(run: _Run, words: Sequence[Unit]) -> list[tuple[int, int]]:
    """The parts of a run without spaces that are words of the query."""
    at = [number for number, folded in enumerate(run.folded) for _ in folded]
    folded, marked = run.text(), [False] * len(run.folded)
    for word in {unit.text for unit in words if is_unspaced(unit.text)}:
        first = folded.find(word)
        while first >= 0:
            for place in range(at[first], at[first + len(word) - 1] + 1):
                marked[place] = True
            first = folded.find(word, first + 1)
    starts = [run.start, *run.ends]
    edges = [n for n in range(len(marked) + 1) if [*marked, False][n] != [False, *marked][n]]
    return [(starts[first], starts[last]) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _runs(text: str) -> Iterator[_Run]:
    run: _Run | None = None
    for start, end in _clusters(text):
        folded = fold(text[start:end])
        letters = folded.strip()
        if run and not folded:
            run.ends[-1] = end
            continue
        # Symbols are folded to themselves between spaces, separators to spaces alone.
        if run and letters == folded != "" and is_unspaced(letters) == is_unspaced(run.folded[-1]):
            run.ends.append(end)
            run.folded.append(letters)
            continue
        if run:
            yield run
        run = _Run(start, [end], [letters]) if letters else None
        if run and letters != folded:
            yield run
            run = None
    if run:
        yield run


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """The ends of each character with the marks and invisible characters that follow it."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not _continues(text[at]):
            yield start, at
            start = at


def _continues(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf")
        or "\u1160" <= character <= "\u11ff"  # the second and third part of a decomposed Hangul syllable
        or character in "\uff9e\uff9f"  # voicing of half-width kana
    )
