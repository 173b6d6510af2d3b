"""Questions to the made-up library: exact answers from the rows of its catalog, and those of a search."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median, quantiles
from typing import Any

import numpy as np

from benchmarks.library import DAY, END, PICTURE_SPACE, SMALL, TEXT_SPACE, TINY, vocabulary
from benchmarks.vectors import clustered

BEST = 10
SINCE = END - 30 * DAY
FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "library 0.1 %": {"library": SMALL},
    "library 2 files": {"library": TINY},
    "audio": {"kind": "audio"},
    "30 days": {"since": SINCE},
    "safe": {"safe": True},
    "audio, 30 days": {"kind": "audio", "since": SINCE},
    "safe, 30 days": {"safe": True, "since": SINCE},
}
# The ranks in the vocabulary from which the words of a question are.
RARE, MIDDLING, COMMON = 20_000, 1_000, 20


@dataclass(frozen=True, slots=True)
class Row:
    """What filters go by of one asset, of which the library holds one file."""

    hash: str
    path: bytes
    kind: str
    library: str
    moment: float
    safe: bool

    def passes(self, filters: dict[str, Any]) -> bool:
        """Whether a search with these filters may answer with it."""
        return (
            self.library == filters.get("library", "default")
            and filters.get("kind") in (None, self.kind)
            and self.moment >= filters.get("since", -np.inf)
            and (self.safe or not filters.get("safe"))
        )


class Catalog:
    """The rows of the catalog, read plainly, and the exact answers of all questions."""

    def __init__(self, db: sqlite3.Connection, queries: int) -> None:
        self.queries = queries
        self.rows = dict(_rows(db))
        words = vocabulary().names
        self.words = {
            "a rare word": [words[RARE + at] for at in range(queries)],
            "a common word": [words[COMMON + at] for at in range(queries)],
        }
        self.texts = {
            "two middling words": [
                f"{words[MIDDLING + at]} {words[2 * MIDDLING + at]}" for at in range(queries)
            ],
            "four common words": [" ".join(words[COMMON + at : COMMON + at + 4]) for at in range(queries)],
            "ten words": [" ".join(words[at + 50 * step] for step in range(1, 11)) for at in range(queries)],
        }
        self.holders = _holders(db, [word for several in self.words.values() for word in several])
        dimension = db.execute("SELECT dimension FROM spaces WHERE name = ?", (PICTURE_SPACE,)).fetchone()[0]
        # Members of the same clusters that are not in the index.
        self.vectors = {
            PICTURE_SPACE: next(clustered(queries, dimension, seed=2, members=5)),
            TEXT_SPACE: next(clustered(queries, dimension, seed=3, members=5)),
        }
        self.examples = {library: self._examples(library) for library in ("default", SMALL)}
        self.scores = {
            "pictures by meaning": _scores(db, PICTURE_SPACE, "picture", self.vectors[PICTURE_SPACE]),
            "speech by meaning": _scores(db, TEXT_SPACE, "speech", self.vectors[TEXT_SPACE]),
        }
        for library, ids in self.examples.items():
            like = np.stack([_vector_of(db, id) for id in ids])
            self.scores[f"like {library}"] = _scores(db, PICTURE_SPACE, "picture", like)

    def _examples(self, library: str) -> list[int]:
        images = [id for id, row in self.rows.items() if (row.kind, row.library) == ("image", library)]
        return images[:: max(1, len(images) // self.queries)][: self.queries]

    def passing(self, filters: dict[str, Any]) -> np.ndarray:
        """The ids of the assets that pass."""
        return np.array([id for id, row in self.rows.items() if row.passes(filters)], dtype=np.int64)

    def nearest(self, kind: str, at: int, passing: np.ndarray, itself: int = -1) -> list[str]:
        """The hashes of the BEST assets that pass for a question by meaning, exactly; without `itself`."""
        assets, scores = self.scores[kind]
        chosen = np.isin(assets, passing) & (assets != itself)
        order = np.argsort(-scores[at][chosen])
        return [self.rows[int(id)].hash for id in _first(assets[chosen][order])]

    def holding(self, word: str, passing: np.ndarray) -> set[str]:
        """The hashes of the assets that pass and hold a word."""
        return {self.rows[id].hash for id in self.holders[word] & set(passing.tolist())}


def _first(assets: np.ndarray) -> list[int]:
    """The first BEST distinct ones."""
    return list(dict.fromkeys(assets[: 100 * BEST].tolist()))[:BEST]


def _rows(db: sqlite3.Connection) -> Iterator[tuple[int, Row]]:
    rows = db.execute(
        "SELECT a.id, a.hash, l.folder || '/' || l.name, a.kind, l.library, json_extract(a.media, '$.taken'),"
        " l.mtime_ns, (SELECT json_extract(f.data, '$.verdict') FROM findings f"
        "              WHERE f.asset = a.id AND f.task = 'nsfw')"
        " FROM locations l JOIN assets a ON a.id = l.asset"
    )
    for id, hash, path, kind, library, taken, mtime_ns, verdict in rows:
        moment = datetime.fromisoformat(taken).timestamp() if taken else mtime_ns / 1e9
        path = path if isinstance(path, bytes) else path.encode()
        yield id, Row(hash, path, kind, library, moment, verdict == "safe" or kind == "audio")


def _holders(db: sqlite3.Connection, words: Sequence[str]) -> dict[str, set[int]]:
    """The assets of which a passage holds a word that begins with each of these."""
    holders: dict[str, set[int]] = {word: set() for word in words}
    for asset, text in db.execute("SELECT asset, text FROM passages"):
        padded = " " + text
        for word, found in holders.items():
            if f" {word}" in padded:
                found.add(asset)
    return holders


def _vector_of(db: sqlite3.Connection, asset: int) -> np.ndarray:
    row = db.execute(
        "SELECT value FROM vectors WHERE asset = ? AND space = ?", (asset, PICTURE_SPACE)
    ).fetchone()
    return np.frombuffer(row[0], dtype="<f2").astype(np.float32)


def _scores(
    db: sqlite3.Connection, space: str, source: str, queries: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each vector its asset (n,) and its inner products (queries, n) with the queries."""
    assets: list[int] = []
    scores = []
    rows = db.execute("SELECT asset, value FROM vectors WHERE space = ? AND source = ?", (space, source))
    while piece := rows.fetchmany(20_000):
        assets += [row[0] for row in piece]
        values = np.frombuffer(b"".join(row[1] for row in piece), dtype="<f2").astype(np.float32)
        scores.append(queries @ values.reshape(len(piece), -1).T)
    return np.array(assets, dtype=np.int64), np.concatenate(scores, axis=1)


class Prepared:
    """An encoder whose next answer is set: models are not what is measured."""

    space = visual_space = ""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.next = np.zeros(dimension, np.float32)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """The vector that was set, for each text."""
        return np.stack([self.next for _ in texts])

    encode_queries = encode_texts


def measure(db: sqlite3.Connection, truth: Catalog) -> dict[str, Any]:
    """Milliseconds and recall@10 by kind and filter, and how long opening and the first question took."""
    from mediaflow.models import encoders
    from mediaflow.search.engine import Searcher
    from mediaflow.search.request import Request

    prepared = {space: Prepared(vectors.shape[1]) for space, vectors in truth.vectors.items()}
    encoders.text_encoder = lambda _settings: prepared[TEXT_SPACE]  # type: ignore[assignment]
    encoders.image_encoder = lambda _settings, **_: prepared[PICTURE_SPACE]  # type: ignore[assignment]
    searcher = Searcher(db)

    def asked(**request: Any) -> tuple[float, list[str]]:
        start = time.perf_counter()
        answer: Any = searcher.search(Request(**request))
        seconds = time.perf_counter() - start
        # Before there were warnings, an answer was its results.
        return seconds, [result.asset for result in getattr(answer, "results", answer)]

    first, _ = asked(text=truth.words["a rare word"][0])
    kinds: dict[str, dict[str, dict[str, float]]] = {}
    for name, filters in FILTERS.items():
        passing = truth.passing(filters)
        for kind, texts in (truth.words | truth.texts).items():
            for encoder in prepared.values():
                encoder.next = np.zeros(
                    encoder.dimension, np.float32
                )  # what is found by meaning says nothing
            told = [asked(text=text, **filters) for text in texts]
            right = [truth.holding(text, passing) for text in texts] if kind in truth.words else []
            kinds.setdefault(kind, {})[name] = _cell(told, right)
        for kind, where, space in (
            ("pictures by meaning", "image", PICTURE_SPACE),
            ("speech by meaning", "speech", TEXT_SPACE),
        ):
            told, right = [], []
            for at, vector in enumerate(truth.vectors[space]):
                prepared[space].next = vector
                told.append(asked(text="xyzzy", where=where, **filters))
                right.append(set(truth.nearest(kind, at, passing)))
            kinds.setdefault(kind, {})[name] = _cell(told, right)
        library = filters.get("library", "default")
        told, right = [], []
        for at, id in enumerate(
            truth.examples.get(library, [])
        ):  # an example is of the library that is searched
            told.append(asked(like=truth.rows[id].path.decode(), **filters))
            right.append(set(truth.nearest(f"like {library}", at, passing, id)))
        if told:
            kinds.setdefault("by example", {})[name] = _cell(told, right)
    return {"kinds": kinds, "first_ms": first * 1000}


Told = list[tuple[float, list[str]]]
"""Of each question: seconds, and the hashes of the results."""


def _cell(told: Told, right: list[set[str]]) -> dict[str, float]:
    """Milliseconds, and the share of the right results, of which at most BEST are wanted, that was found."""
    cell = percentiles([seconds for seconds, _ in told])
    wanted = sum(min(BEST, len(hashes)) for hashes in right)
    found = sum(len(hashes & set(results)) for hashes, (_, results) in zip(right, told, strict=bool(right)))
    return cell | ({"recall": round(found / wanted, 4)} if wanted else {})


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    last = quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
    return {"p50_ms": round(median(seconds) * 1000, 2), "p95_ms": round(last * 1000, 2)}
