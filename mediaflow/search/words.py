"""Full-text search in recognised text, speech and names."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mediaflow.search.filters import Condition
from mediaflow.search.query import Unit, query_units

# Rows of a word that are read; a word in more rows is common.
MAX_ROWS = 3_000
# Rows that pass the filter and are compared in full, and hits that are returned.
MAX_RANKED, MAX_HITS = 1_000, 400
# Up to this many rows that pass the filter, all of them are compared for common words.
MAX_FEW_ROWS = 6_000
# Constants of BM25, which orders hits that hold the same words.
SATURATION, LENGTH = 1.2, 0.75


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


@dataclass(frozen=True, slots=True)
class _Texts:
    """A full-text table, the rows it indexes (with columns id, asset, source), and a filter on these."""

    index: str
    rows: str
    sources: Sequence[str]
    condition: Condition

    def where(self) -> tuple[str, list[object]]:
        marks = ",".join("?" * len(self.sources))
        return f"source IN ({marks}) AND ({self.condition.sql})", [*self.sources, *self.condition.parameters]


@dataclass(frozen=True, slots=True)
class _Term:
    """A word or phrase of a query, with its weight (`rarity`); `ids` are its first rows."""

    match: str
    needles: tuple[str, ...]
    rarity: float
    ids: list[int]
    common: bool


def search_passages(
    db: sqlite3.Connection, query: str, sources: Sequence[str], condition: Condition
) -> list[TextHit]:
    """Passages of `sources` (ocr, speech), of assets that pass, that hold words of the query; best first."""
    scores = _search(db, query, _Texts("passages_words", "passages", sources, condition))
    rows = db.execute(
        "SELECT id, asset, source, text, page, start, end FROM passages"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(scores)),),
    )
    hits = {row[0]: TextHit(row[1], row[2], scores[row[0]], *row[3:7]) for row in rows}
    return [hits[id] for id in scores]


def search_names(db: sqlite3.Connection, query: str, condition: Condition) -> list[TextHit]:
    """Files, of assets that pass, whose name or nearest folders hold words of the query; best first."""
    # A filter may use columns of the location too. The + keeps SQLite from scanning a library by its index.
    columns = "id, asset, 'name' AS source, +library AS library, gone"
    rows = f"(SELECT {columns} FROM locations WHERE asset IS NOT NULL)"
    scores = _search(db, query, _Texts("names_words", rows, ["name"], condition))
    found = db.execute(
        "SELECT id, asset, words FROM locations WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(scores)),),
    )
    hits = {row[0]: TextHit(row[1], "name", scores[row[0]], row[2]) for row in found}
    return [hits[id] for id in scores]


def _search(db: sqlite3.Connection, query: str, texts: _Texts) -> dict[int, float]:
    """The scores of the best rows by id, best first."""
    terms = _terms(db, query, texts.index)
    known: dict[int, float] = defaultdict(float)
    for term in terms:
        for id in term.ids:
            known[id] += term.rarity
    ids = _passing(db, texts, sorted(known, key=lambda id: -known[id]))
    if any(term.common for term in terms):
        ids += _of_common(db, texts, terms, len(ids) / len(known) if len(ids) < MAX_HITS else 1.0)
    return _scores(db, texts, terms, list(dict.fromkeys(ids)))


def _terms(db: sqlite3.Connection, query: str, index: str) -> list[_Term]:
    """The query's words, and those of its phrases that occur; the rarest first."""
    words, phrases = query_units(query)
    total = _last(db, index)
    terms = [_term(db, unit, index, total) for unit in words]
    terms += [term for unit in phrases if (term := _term(db, unit, index, total)).ids]
    return sorted(terms, key=lambda term: -term.rarity)


def _last(db: sqlite3.Connection, index: str) -> int:
    """The largest id, which is about the number of rows: ids are assigned in order."""
    row = db.execute(f"SELECT rowid FROM {index} ORDER BY rowid DESC LIMIT 1").fetchone()
    return int(row[0]) if row else 0


def _term(db: sqlite3.Connection, unit: Unit, index: str, total: int) -> _Term:
    match = " OR ".join(f'"{form}"' for form in unit.forms)
    ids = _first_rows(db, index, match)
    if unit.prefix and len(ids) <= MAX_ROWS:  # else its own rows are enough, and joining all forms takes long
        match = " OR ".join(f'"{form}"*' for form in unit.forms)
        ids = _first_rows(db, index, match)
    common = len(ids) > MAX_ROWS
    # Rows come in the order of their ids: the last id read gives an estimate of their number.
    count = min(total, len(ids) * total // ids[-1]) if common else len(ids)
    rarity = math.log(1 + (total - count + 0.5) / (count + 0.5))
    needles = tuple(f" {form}" if unit.prefix else f" {form} " for form in unit.forms)
    return _Term(f"({match})", needles, rarity, ids, common)


def _first_rows(db: sqlite3.Connection, index: str, match: str) -> list[int]:
    rows = db.execute(f"SELECT rowid FROM {index} WHERE {index} MATCH ? LIMIT ?", (match, MAX_ROWS + 1))
    return [row[0] for row in rows]


def _passing(db: sqlite3.Connection, texts: _Texts, ids: Iterable[int]) -> list[int]:
    """The first MAX_RANKED of the rows that pass the filter, in the same order."""
    condition, parameters = texts.where()
    rows = db.execute(
        f"SELECT id FROM (SELECT t.* FROM json_each(?) j CROSS JOIN {texts.rows} t"
        f" ON t.id = j.value) WHERE {condition} LIMIT ?",
        (json.dumps(list(ids)), *parameters, MAX_RANKED),
    )
    return [row[0] for row in rows]


def _matching(db: sqlite3.Connection, texts: _Texts, match: str) -> list[int]:
    """Rows that pass the filter and match, MAX_HITS at most."""
    condition, parameters = texts.where()
    rows = db.execute(
        f"SELECT id FROM (SELECT t.* FROM {texts.index} w CROSS JOIN {texts.rows} t"
        f" ON t.id = w.rowid WHERE {texts.index} MATCH ?) WHERE {condition} LIMIT ?",
        (match, *parameters, MAX_HITS),
    )
    return [row[0] for row in rows]


def _of_common(db: sqlite3.Connection, texts: _Texts, terms: Sequence[_Term], passing: float) -> list[int]:
    """Further rows that pass the filter, where words are in too many rows to read all.

    `passing` is the share of the first rows that pass, or 1 where these are enough. If they are not, either
    few rows pass at all, and all are taken, or the words are so common that passing rows come soon.
    """
    if passing * _last(db, texts.index) < 2 * MAX_FEW_ROWS:
        few = _few_rows(db, texts)
        if few is not None:
            return few
    held, common = [term for term in terms if term.ids], [term for term in terms if term.common]
    together = [" AND ".join(t.match for t in group) for group in (held, common) if len(group) > 1]
    found: list[int] = []
    for match in [*together, *(term.match for term in common if passing < 1)]:
        if len(found) < MAX_HITS:
            found += _matching(db, texts, match)
    return found


def _few_rows(db: sqlite3.Connection, texts: _Texts) -> list[int] | None:
    """All rows that pass the filter, where they are few."""
    condition, parameters = texts.where()
    rows = db.execute(
        f"SELECT id FROM {texts.rows} WHERE {condition} LIMIT ?", (*parameters, MAX_FEW_ROWS + 1)
    ).fetchall()
    return None if len(rows) > MAX_FEW_ROWS else [row[0] for row in rows]


def _scores(
    db: sqlite3.Connection, texts: _Texts, terms: Sequence[_Term], ids: list[int]
) -> dict[int, float]:
    """The share of the query's words in each row, weighted by rarity; best first, MAX_HITS at most."""
    rows = db.execute(
        f"SELECT rowid, words FROM {texts.index} WHERE rowid IN (SELECT value FROM json_each(?))",
        (json.dumps(ids),),
    ).fetchall()
    mean = sum(len(words) for _, words in rows) / (len(rows) or 1) or 1.0
    whole = sum(term.rarity for term in terms) or 1.0
    ranked = []
    for id, words in rows:
        padded = f" {words} "
        times = [max(map(padded.count, term.needles)) for term in terms]
        share = sum(term.rarity for term, count in zip(terms, times, strict=True) if count) / whole
        norm = SATURATION * (1 - LENGTH + LENGTH * len(words) / mean)
        bm25 = sum(t.rarity * n * (SATURATION + 1) / (n + norm) for t, n in zip(terms, times, strict=True))
        if share:
            ranked.append((share, bm25, id))
    ranked.sort(key=lambda entry: (-entry[0], -entry[1], entry[2]))
    return {id: min(share, 1.0) for share, _, id in ranked[:MAX_HITS]}
