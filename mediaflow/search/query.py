"""A query as the full text is asked for it: words and phrases. A query is data, never FTS5 syntax."""

from __future__ import annotations

from mediaflow.text import Unit, fold, is_weak, phrase, units

# Words that say nothing about what is looked for, in the two languages questions come in.
STOP_WORDS = (
    "a an and are as at be been but by did do does for from had has have he her his i in is it its me "
    "my of on or our she that the their them there they this to was we were what when where which who "
    "will with would you your about aber als am an auch auf aus bei bin bis da dann das dass dem den "
    "der des die dies diese dieser doch ein eine einem einen einer eines er es für hat haben hatte "
    "ich ihr ihre im in ist ja kann man mein meine mich mir mit nach nicht noch nur oder sein seine "
    "sich sie sind so über um und uns unser von vor war was wenn wer wie wir wird wo zu zum zur "
)
# How much of a query is used: a person may paste a book, and each word costs a look-up.
MAX_CHARACTERS, MAX_WORDS, MAX_PHRASE = 10_000, 64, 32


def query_words(query: str) -> list[str]:
    """The folded words of a query that carry meaning, at most MAX_WORDS; any words where none does."""
    return [unit.text for unit in _words(query)]


def query_units(query: str) -> tuple[list[Unit], list[Unit]]:
    """The words of a query, and as phrases the pieces with several words and no space between them."""
    words = _words(query)
    telling = {unit.text for unit in words}
    phrases: dict[str, Unit] = {}
    for chunk in query[:MAX_CHARACTERS].split():
        parts = [part.text for part in units(chunk)]
        if len(parts) > 1 and any(part in telling or _is_sign(part) for part in parts):
            unit = phrase(chunk, MAX_PHRASE)
            phrases.setdefault(unit.text, unit)
    return words, [unit for text, unit in phrases.items() if text not in telling][: MAX_WORDS - len(words)]


def _words(query: str) -> list[Unit]:
    found = {unit.text: unit for unit in units(query[:MAX_CHARACTERS])}
    telling = [unit for text, unit in found.items() if text not in _STOP and not is_weak(text)]
    return (telling or list(found.values()))[:MAX_WORDS]


def _is_sign(text: str) -> bool:
    return not any(map(str.isalnum, text))


_STOP = frozenset(fold(STOP_WORDS).split())
