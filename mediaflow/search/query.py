"""Query parsing: the words and phrases to look up in full text. A query is data, never FTS5 syntax."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mediaflow.text import (
    HAN,
    HIRAGANA,
    KATAKANA,
    MAX_TOKEN,
    OTHERS,
    fold,
    is_unspaced,
    pieces,
    spellings,
    split,
)

# Stop words in the two languages of queries.
STOP_WORDS = (
    "a an and are as at be been but by did do does for from had has have he her his i in is it its me "
    "my of on or our she that the their them there they this to was we were what when where which who "
    "will with would you your about aber als am an auch auf aus bei bin bis da dann das dass dem den "
    "der des die dies diese dieser doch ein eine einem einen einer eines er es für hat haben hatte "
    "ich ihr ihre im in ist ja kann man mein meine mich mir mit nach nicht noch nur oder sein seine "
    "sich sie sind so über um und uns unser von vor war was wenn wer wie wir wird wo zu zum zur "
)
# Limits of a query: a person may paste a book, and each word costs a lookup.
MAX_CHARACTERS, MAX_WORDS, MAX_PHRASE = 10_000, 64, 32

# A word of this length or more matches as a prefix, for inflected forms: Rechnung, Rechnungen.
MIN_PREFIX = 5
# A longer run of Chinese characters is a sentence rather than a word, and is looked up in pairs.
MAX_HAN_WORD = 4
_SCRIPT_RUNS = re.compile(f"[{HAN}]+|[{HIRAGANA}]+|[{KATAKANA}]+|[{OTHERS}]+")
_HAN_RUN, _HIRAGANA_RUN = re.compile(f"[{HAN}]+"), re.compile(f"[{HIRAGANA}]+")


@dataclass(frozen=True, slots=True)
class Unit:
    """A word or phrase as it is looked up: the tokens of each of its spellings, joined with spaces.

    `prefix`: words that begin with it match too.
    """

    text: str
    forms: tuple[str, ...]
    prefix: bool


def query_words(query: str) -> list[str]:
    """The folded words of a query that carry meaning, at most MAX_WORDS; any words where none does."""
    return [unit.text for unit in _words(query)]


def query_units(query: str) -> tuple[list[Unit], list[Unit]]:
    """The words of a query, and its phrases: pieces of several words without a space between them."""
    words = _words(query)
    telling = {unit.text for unit in words}
    phrases: dict[str, Unit] = {}
    for chunk in query[:MAX_CHARACTERS].split():
        parts = [part.text for part in units(chunk)]
        if len(parts) > 1 and any(part in telling or _is_sign(part) for part in parts):
            unit = _phrase(chunk)
            phrases.setdefault(unit.text, unit)
    return words, [unit for text, unit in phrases.items() if text not in telling][: MAX_WORDS - len(words)]


def units(text: str) -> list[Unit]:
    """All words of a text, in order; a run without spaces is divided by script."""
    spelled = [_parts(folded) for folded in spellings(text)]
    return [
        Unit(forms[0][0], tuple(dict.fromkeys(form for _, form, _ in forms)), forms[0][2])
        for forms in zip(*spelled, strict=True)
    ]


def _parts(folded: str) -> list[tuple[str, str, bool]]:
    """(text, its tokens, whether it is a prefix) of the words of a folded text."""
    found = []
    for piece in (piece for chunk in folded.split() for piece in pieces(chunk)):
        if not is_unspaced(piece):
            found.append((piece[:MAX_TOKEN], piece[:MAX_TOKEN], _is_prefix(piece)))
            continue
        for run in _SCRIPT_RUNS.findall(piece):
            pairs = [run[at : at + 2] for at in range(len(run) - 1)]
            if len(run) > MAX_HAN_WORD and _HAN_RUN.fullmatch(run):
                found += [(pair, pair, False) for pair in pairs]
            else:
                found.append((run, " ".join(pairs[:MAX_PHRASE]) or run, not pairs))
    return found


def _phrase(chunk: str) -> Unit:
    """A piece of a query without a space in it, as one phrase of at most MAX_PHRASE tokens."""
    forms = []
    for folded in spellings(chunk):
        found = list(split(folded))
        if (
            len(found) > 1
            and len(found[-1]) == 1
            and len(found[-2]) == 2
            and is_unspaced(found[-2] + found[-1])
        ):
            del found[-1]  # the last character of a run stands alone only where the run ends
        forms.append(found[:MAX_PHRASE])
    prefix = _is_prefix(forms[0][-1]) and len(forms[0]) < MAX_PHRASE
    return Unit(" ".join(forms[0]), tuple(map(" ".join, forms)), prefix)


def _is_prefix(word: str) -> bool:
    return len(word) >= MIN_PREFIX or (len(word) == 1 and is_unspaced(word))


def _is_weak(word: str) -> bool:
    """Whether a word has little meaning beside others: one letter, a particle, an ASCII symbol."""
    if len(word) > 1 or word.isdigit():
        return False
    if is_unspaced(word):
        return _HIRAGANA_RUN.fullmatch(word) is not None
    return word.isascii() or word.isalpha()


def _words(query: str) -> list[Unit]:
    found = {unit.text: unit for unit in units(query[:MAX_CHARACTERS])}
    telling = [unit for text, unit in found.items() if text not in _STOP and not _is_weak(text)]
    return (telling or list(found.values()))[:MAX_WORDS]


def _is_sign(text: str) -> bool:
    return not any(map(str.isalnum, text))


_STOP = frozenset(fold(STOP_WORDS).split())
