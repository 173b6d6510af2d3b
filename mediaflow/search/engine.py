"""The search itself: gathers evidence from words and spaces, puts it together, answers with reasons."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mediaflow.errors import UsageError
from mediaflow.index.reader import SpaceReader
from mediaflow.models import encoders
from mediaflow.search import by_example
from mediaflow.search.calibrate import Background
from mediaflow.search.filters import EVERYTHING, Eligible, eligible
from mediaflow.search.fuse import Evidence, fuse, text_evidence
from mediaflow.search.query import query_words
from mediaflow.search.request import Match, Request, Result, Where
from mediaflow.search.words import search_names, search_passages
from mediaflow.settings import load_settings

if TYPE_CHECKING:
    from mediaflow.models.encoders import ImageEncoder, TextEncoder

MATCHES = 3
# A reason this much weaker than the best one is noise to a person.
WORTH = 0.1
# Vectors looked at for a wanted result: filters and several vectors an asset use some up.
CANDIDATES_EACH = 20
SOURCES: dict[Where, str] = {"image": "picture", "ocr": "ocr", "speech": "speech"}


class Searcher:
    """Answers requests from one catalog. Keep it: encoders and indexes stay open between requests."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.settings = load_settings()
        self._readers: dict[str, SpaceReader] = {}

    @cached_property
    def text_encoder(self) -> TextEncoder:
        return encoders.text_encoder(self.settings)

    @cached_property
    def query_encoder(self) -> ImageEncoder:
        return encoders.image_encoder(self.settings, queries_only=True)

    def search(self, request: Request) -> list[Result]:
        """The best results for a request, best first.

        Raises UsageError for an image file that is none, or an asset that is not known.
        """
        if request.image is not None or request.like is not None:
            evidence = by_example.evidence(self, request)
        elif request.text.strip():
            evidence = self._text_evidence(request)
        else:
            raise UsageError("Ask for something: words, --image FILE or --like PATH.")
        passed = eligible(self.db, (piece.asset for piece in evidence), request)
        ranked = fuse(piece for piece in evidence if piece.asset in passed)[: request.limit]
        return [_result(passed[asset], score, matches) for asset, score, matches in ranked]

    def nearest(
        self, space: str, query: np.ndarray, request: Request, where: Iterable[Where]
    ) -> list[Evidence]:
        """Evidence of the vectors of `space` nearest to `query` that pass the request's filters.

        Looks deeper while filters leave fewer assets than are wanted.
        """
        reader = self._readers.setdefault(space, SpaceReader(space))
        reader.refresh(self.db)
        background = Background(*reader.sample(self.db, query))
        sources = {SOURCES[place]: place for place in where if place in SOURCES}
        count = max(request.limit * CANDIDATES_EACH, 200)
        while True:
            evidence = self._evidence(dict(reader.search(query, count)), sources, background)
            passed = eligible(self.db, (piece.asset for piece in evidence), request)
            if len(passed) >= request.limit or count >= len(reader):
                return [piece for piece in evidence if piece.asset in passed]
            count *= 8

    def _evidence(
        self, found: dict[int, float], sources: dict[str, Where], background: Background
    ) -> list[Evidence]:
        evidence = []
        ids = list(found)
        for first in range(0, len(ids), 500):
            part = ids[first : first + 500]
            rows = self.db.execute(
                "SELECT v.id, v.asset, v.source, COALESCE(v.page, p.page) AS page,"
                " COALESCE(v.time, p.start) AS start, p.end, p.text"
                " FROM vectors v LEFT JOIN passages p ON p.asset = v.asset AND p.source = v.source"
                " AND p.ordinal = v.ordinal AND v.source != 'picture'"
                f" WHERE v.id IN ({','.join('?' * len(part))})",
                part,
            )
            for row in rows:
                place = sources.get(row["source"])
                if place is not None:
                    score = background.probability(found[row["id"]], place)
                    match = Match(place, score, row["text"], row["start"], row["end"], row["page"])
                    evidence.append(Evidence(row["asset"], "space", match))
        return evidence

    def _text_evidence(self, request: Request) -> list[Evidence]:
        places = request.places()
        found: list[Evidence] = []
        words = len(query_words(request.text))
        spoken = [SOURCES[place] for place in places if place in ("ocr", "speech")]
        if spoken:
            found += text_evidence(search_passages(self.db, request.text, spoken, EVERYTHING), words)
            space = encoders.text_space(self.settings)
            found += self._in_space(
                space, lambda texts: self.text_encoder.encode_texts(texts), request, places
            )
        if "name" in places:
            found += text_evidence(search_names(self.db, request.text, EVERYTHING), words)
        if "image" in places:
            space = encoders.image_space(self.settings)
            found += self._in_space(
                space, lambda texts: self.query_encoder.encode_queries(texts), request, ["image"]
            )
        return found

    def _in_space(
        self, space: str, encode: Callable[[list[str]], np.ndarray], request: Request, where: Iterable[Where]
    ) -> list[Evidence]:
        if not self.db.execute("SELECT 1 FROM spaces WHERE name = ?", (space,)).fetchone():
            return []  # nothing was embedded yet: no model need be loaded
        return self.nearest(space, encode([request.text])[0], request, where)


def _result(asset: Eligible, score: float, matches: list[Match]) -> Result:
    worth = [match for match in matches if match.score >= WORTH * matches[0].score]
    return Result(asset.path, asset.kind, score, asset.hash, worth[:MATCHES])
