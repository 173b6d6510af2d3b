"""The search: collects evidence from full text and spaces, fuses it, and returns results with reasons."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from mediaflow.errors import ConfigError, ModelError, UsageError
from mediaflow.index.reader import SpaceReader
from mediaflow.models import encoders
from mediaflow.search import by_example
from mediaflow.search.filters import Filter, Place
from mediaflow.search.fuse import Evidence, fuse, text_evidence
from mediaflow.search.nearest import SOURCES, Look, nearest, query_vector
from mediaflow.search.query import query_words
from mediaflow.search.request import Answer, Match, Request, Result
from mediaflow.search.words import search_names, search_passages
from mediaflow.settings import load_settings

if TYPE_CHECKING:
    from mediaflow.models.encoders import ImageEncoder, TextEncoder

MATCHES = 3
# Matches weaker than this share of the best one are not returned.
WORTH = 0.1
# A model that could not be loaded is tried again after this time: reading a damaged one takes a while.
AGAIN_SECONDS = 30.0
Encoder = TypeVar("Encoder")


class Searcher:
    """Answers requests from one catalog. Keep it: encoders and indexes stay open between requests."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.settings = load_settings()
        self._readers: dict[str, SpaceReader] = {}
        self._encoders: dict[str, object] = {}
        self._failed: dict[str, tuple[float, ModelError | ConfigError]] = {}

    @property
    def text_encoder(self) -> TextEncoder:
        """Raises ModelError or ConfigError where it cannot be loaded, as the others do."""
        return self._loaded("text", lambda: encoders.text_encoder(self.settings))

    @property
    def query_encoder(self) -> ImageEncoder:
        """Encodes queries for pictures."""
        return self._loaded("query", lambda: encoders.image_encoder(self.settings, queries_only=True))

    @property
    def image_encoder(self) -> ImageEncoder:
        """Encodes pictures."""
        return self._loaded("image", lambda: encoders.image_encoder(self.settings))

    def search(self, request: Request) -> Answer:
        """The best results for a request, best first, and warnings on spaces that could not be searched.

        Raises UsageError for a file that is no image, an unknown asset, or an empty request, and ModelError
        or ConfigError when a missing model leaves nothing to search.
        """
        filter = Filter(self.db, request)
        warnings: list[str] = []
        if request.image is not None or request.like is not None:
            evidence = by_example.evidence(self, request, filter)
        elif request.question:
            evidence = self._text_evidence(request, filter, warnings)
        else:
            raise UsageError("Ask for something: words, --image FILE or --like PATH.")
        results = []
        for asset, score, matches in fuse(evidence)[: request.limit]:
            # It may have been forgotten since its evidence was found.
            if place := filter.place(asset):
                results.append(_result(place, score, matches))
        return Answer(results, warnings)

    def opened(self, space: str) -> SpaceReader:
        """The reader of a space, following the catalog; without vectors where nothing was embedded."""
        reader = self._readers.setdefault(space, SpaceReader(space))
        reader.refresh(self.db)
        return reader

    def _text_evidence(self, request: Request, filter: Filter, warnings: list[str]) -> list[Evidence]:
        found: list[Evidence] = []
        for part in self._parts(request, filter):
            try:
                found += part()
            except (ModelError, ConfigError) as error:
                if request.where == "image":
                    raise  # no other place was requested
                warnings.append(f"Not searched by meaning: {error}")
        return found

    def _parts(self, request: Request, filter: Filter) -> Iterator[Callable[[], list[Evidence]]]:
        """The lookups of a query, each to be called."""
        text, places = request.question, request.places()
        words = len(query_words(text))
        spoken = [place for place in places if place in ("ocr", "speech")]
        if spoken:
            sources, condition = [SOURCES[place] for place in spoken], filter.condition
            yield lambda: text_evidence(search_passages(self.db, text, sources, condition), words)
            space, look = encoders.text_space(self.settings), Look(filter, spoken, request.limit)
            yield lambda: self._in_space(space, lambda: self.text_encoder.encode_texts([text]), look)
        if "name" in places:
            yield lambda: text_evidence(search_names(self.db, text, filter.name_condition), words)
        if "image" in places:
            shown, seen = encoders.image_space(self.settings), Look(filter, ["image"], request.limit)
            yield lambda: self._in_space(shown, lambda: self.query_encoder.encode_queries([text]), seen)

    def _in_space(self, space: str, encode: Callable[[], np.ndarray], look: Look) -> list[Evidence]:
        reader = self.opened(space)
        if not len(reader):
            return []  # the space is empty: no model needs to be loaded
        return nearest(self.db, reader, query_vector(reader, encode), look)

    def _loaded(self, name: str, load: Callable[[], Encoder]) -> Encoder:
        since, failure = self._failed.get(name, (0.0, None))
        if failure and time.monotonic() - since < AGAIN_SECONDS:
            raise failure
        if name not in self._encoders:
            try:
                self._encoders[name] = load()
            except (ModelError, ConfigError) as error:
                self._failed[name] = (time.monotonic(), error)
                raise
        return cast(Encoder, self._encoders[name])


def _result(place: Place, score: float, matches: list[Match]) -> Result:
    worth = [match for match in matches if match.score >= WORTH * matches[0].score]
    return Result(place.path, place.kind, score, place.hash, worth[:MATCHES])
