"""Evidence by meaning: the nearest vectors of a space, among the assets that pass the filters."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from mediaflow.errors import ConfigError, ModelError
from mediaflow.index.reader import Among, Found, SpaceReader
from mediaflow.search.calibrate import Background
from mediaflow.search.filters import Filter
from mediaflow.search.fuse import Evidence
from mediaflow.search.request import Match, Where

# Candidates for each requested result: an asset may have several vectors.
CANDIDATES_EACH = 20
MIN_CANDIDATES = 200
# Up to this many passing assets, only their vectors are compared from the start.
MAX_FEW = 20_000
# A search of all vectors is sufficient when this share of its hits passes the filters; else it is repeated
# with more lists; then only the vectors that pass are compared. Measured in docs/search.md.
ROUNDS = ((1, 1, 0.5), (4, 8, 0.15))  # candidates and lists as multiples, and the share
SOURCES: dict[Where, str] = {"image": "picture", "ocr": "ocr", "speech": "speech"}


@dataclass(frozen=True, slots=True)
class Look:
    """The target of a search: the filters, the places in an asset, and the number of assets wanted."""

    filter: Filter
    places: Collection[Where]
    wanted: int

    @property
    def sources(self) -> dict[str, Where]:
        """The places by the sources of vectors."""
        return {SOURCES[place]: place for place in self.places if place in SOURCES}


def query_vector(reader: SpaceReader, encode: Callable[[], np.ndarray]) -> np.ndarray:
    """The one vector (dimension,) float32 that `encode` makes, for a search in this space.

    Raises ModelError where the model fails, or its vectors are not those of the space.
    """
    try:
        vector = np.asarray(encode()[0], dtype=np.float32)
    except (ModelError, ConfigError):
        raise
    except Exception as error:  # the libraries that run models share no other base
        raise ModelError(
            f"The model of {reader.space} fails: {type(error).__name__}: {error}. `mediaflow doctor --models`"
            " says whether its files are whole."
        ) from error
    if vector.shape != (reader.dimension,):
        raise ModelError(
            f"The model of {reader.space} makes {vector.size} values, and its vectors in the catalog have"
            f" {reader.dimension}: the model was replaced. `mediaflow doctor --models` says what to do."
        )
    if not np.isfinite(vector).all():
        raise ModelError(
            f"The model of {reader.space} makes values that are not numbers. `mediaflow doctor --models` says"
            " whether its files are whole."
        )
    return vector


def nearest(db: sqlite3.Connection, reader: SpaceReader, query: np.ndarray, look: Look) -> list[Evidence]:
    """Evidence for the assets that pass, with the vectors nearest to `query` (dimension,) float32."""
    background = Background(*reader.background(db, query))
    evidence: list[Evidence] = []
    for found, share in _rounds(reader, query, look):
        evidence = _evidence(db, found, look, background)
        enough = len({piece.asset for piece in evidence}) >= look.wanted
        if enough and len(evidence) >= share * len(found):
            break
    return evidence


def _rounds(reader: SpaceReader, query: np.ndarray, look: Look) -> Iterator[tuple[Found, float]]:
    """The hits of searches of growing effort, each with the share that must pass for it to be sufficient."""
    count, total = max(look.wanted * CANDIDATES_EACH, MIN_CANDIDATES), len(reader)
    passing = look.filter.few(MAX_FEW)
    if passing is None:
        for more, deeper, share in ROUNDS:
            yield reader.search(query, more * count, deeper=deeper), share
    among = Among(look.filter.all if passing is None else passing, look.sources)
    while True:
        found = reader.search(query, count, among=among)
        yield found, 0.0
        if len(found) < count or count >= total:
            return
        count *= 8


def _evidence(db: sqlite3.Connection, found: Found, look: Look, background: Background) -> list[Evidence]:
    condition, sources, scores = look.filter.condition, look.sources, dict(found)
    rows = db.execute(
        "SELECT v.id, v.asset, v.source, COALESCE(v.page, p.page) AS page,"
        " COALESCE(v.time, p.start) AS start, p.end, p.text"
        " FROM (SELECT * FROM vectors WHERE id IN (SELECT value FROM json_each(?))"
        f"  AND source IN ({','.join('?' * len(sources))}) AND {condition.sql}) v"
        " LEFT JOIN passages p ON p.asset = v.asset AND p.source = v.source"
        " AND p.ordinal = v.ordinal AND v.source != 'picture'",
        (json.dumps(list(scores)), *sources, *condition.parameters),
    ).fetchall()
    evidence = []
    for row in rows:
        place = sources[row["source"]]
        score = background.probability(scores[row["id"]], place)
        match = Match(place, score, row["text"], row["start"], row["end"], row["page"])
        evidence.append(Evidence(row["asset"], "space", match))
    return evidence
