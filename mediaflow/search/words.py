"""Full text: what was read, heard or is in a name, by words. A query is data here, never FTS5 syntax."""

from __future__ import annotations

import math
import re
import sqlite3
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from mediaflow.search.filters import Condition

# Words that say nothing about what is looked for, in the two languages questions come in.
STOP_WORDS = (
    "a an and are as at be been but by did do does for from had has have he her his i in is it its me "
    "my of on or our she that the their them there they this to was we were what when where which who "
    "will with would you your about aber als am an auch auf aus bei bin bis da dann das dass dem den "
    "der des die dies diese dieser doch ein eine einem einen einer eines er es für hat haben hatte "
    "ich ihr ihre im in ist ja kann man mein meine mich mir mit nach nicht noch nur oder sein seine "
    "sich sie sind so über um und uns unser von vor war was wenn wer wie wir wird wo zu zum zur "
)
WORD = re.compile(r"[^\W_]+")  # as the full-text index cuts them
# Long enough that what begins with it is a form of the same word: Rechnung, Rechnungen.
PREFIX_FROM = 5
CANDIDATES = 400
# What is looked at of a query: somebody may paste a book, and each word costs a look-up.
MOST_CHARACTERS, MOST_WORDS = 10_000, 64


@dataclass(frozen=True, slots=True)
class TextHit:
    """A passage with words of the query. `score` is in (0, 1]: the share of the query's words, by rarity."""

    asset: int
    source: str
    score: float
    text: str
    page: int | None = None
    start: float | None = None
    end: float | None = None


def fold(text: str) -> str:
    """Lower case without diacritics, as the full-text index has it; ß as ss."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def query_words(query: str) -> list[str]:
    """The folded words of a query that carry meaning, at most MOST_WORDS; any words where none does."""
    found = dict.fromkeys(fold(word) for word in WORD.findall(query[:MOST_CHARACTERS]))
    words = [word for word in found if word]
    telling = [word for word in words if word not in _STOP and (len(word) > 1 or word.isdigit())]
    return (telling or words)[:MOST_WORDS]


_STOP = frozenset(fold(word) for word in STOP_WORDS.split())


def search_passages(
    db: sqlite3.Connection, query: str, sources: Sequence[str], condition: Condition
) -> list[TextHit]:
    """Passages of `sources` (ocr, speech) that meet `condition` and hold words of the query, best first."""
    words = query_words(query)
    if not words:
        return []
    marks = ",".join("?" * len(sources))
    rows = db.execute(
        "SELECT p.asset, p.source, p.text, p.page, p.start, p.end"
        " FROM passages_words w JOIN passages p ON p.id = w.rowid"
        f" WHERE passages_words MATCH ? AND p.source IN ({marks}) AND {condition.sql}"
        " ORDER BY bm25(passages_words) LIMIT ?",
        (_match(words), *sources, *condition.parameters, CANDIDATES),
    ).fetchall()
    rarity = _rarity(db, "passages", words)
    hits = [
        TextHit(row["asset"], row["source"], _coverage(words, rarity, row["text"]), *row[2:6]) for row in rows
    ]
    return sorted(hits, key=lambda hit: -hit.score)


def search_names(db: sqlite3.Connection, query: str, condition: Condition) -> list[TextHit]:
    """Files that meet `condition` and whose name, or nearest folders' names, hold words of the query."""
    words = query_words(query)
    if not words:
        return []
    rows = db.execute(
        "SELECT l.asset, l.words, l.name FROM names_words w JOIN locations l ON l.id = w.rowid"
        f" WHERE names_words MATCH ? AND l.asset IS NOT NULL AND {condition.sql}"
        " ORDER BY bm25(names_words) LIMIT ?",
        (_match(words), *condition.parameters, CANDIDATES),
    ).fetchall()
    rarity = _rarity(db, "locations", words)
    hits = [TextHit(row[0], "name", _coverage(words, rarity, row[1]), row[1]) for row in rows]
    return sorted(hits, key=lambda hit: -hit.score)


def mark(text: str, query: str, opening: str, closing: str) -> str:
    """The text with the words of the query between two marks."""
    words = query_words(query)
    return WORD.sub(
        lambda match: f"{opening}{match[0]}{closing}" if _is_one_of(fold(match[0]), words) else match[0], text
    )


def _match(words: Sequence[str]) -> str:
    """The FTS5 expression for any of the words; every word is quoted, so that none is an operator."""
    forms = {form.replace('"', '""') for word in words for form in (word, word.replace("ss", "ß"))}
    return " OR ".join(f'"{form}"*' if _begins(form) else f'"{form}"' for form in sorted(forms))


def _begins(word: str) -> bool:
    """Whether what begins with the word counts too; scripts without spaces hide words in longer ones."""
    return len(word) >= PREFIX_FROM or any(ord(letter) > 0x2E80 for letter in word)


def _is_one_of(folded: str, words: Sequence[str]) -> bool:
    return any(folded == word or (_begins(word) and folded.startswith(word)) for word in words)


def _rarity(db: sqlite3.Connection, table: str, words: Sequence[str]) -> dict[str, float]:
    """How much each word tells (inverse document frequency), over the rows of `table`."""
    index = "passages_words" if table == "passages" else "names_words"
    total = db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    rarity = {}
    for word in words:
        found = db.execute(
            f"SELECT COUNT(*) FROM {index} WHERE {index} MATCH ?", (_match([word]),)
        ).fetchone()[0]
        rarity[word] = math.log(1 + (total - found + 0.5) / (found + 0.5))
    return rarity


def _coverage(words: Sequence[str], rarity: dict[str, float], text: str) -> float:
    """The share of the query's words that a text holds, each counted by its rarity."""
    there = {fold(word) for word in WORD.findall(text)}
    held = sum(rarity[word] for word in words if any(_is_one_of(other, [word]) for other in there))
    return held / (sum(rarity.values()) or 1.0)
