"""A made-up catalog of a large library, always the same: assets, names, passages, verdicts and vectors.

It is written by the functions that store the workers' findings, so it is a catalog of the running version.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from benchmarks.vectors import clustered

TEXT_SPACE, PICTURE_SPACE = "made-up-text", "made-up-pictures"
# Names of folders that are not there: encoders of them are never loaded.
SETTINGS = {
    "MEDIAFLOW_SPACES__TEXT": f"file:/{TEXT_SPACE}",
    "MEDIAFLOW_SPACES__IMAGE": f"file:/{PICTURE_SPACE}",
}
SMALL, TINY = "small", "tiny"
DAY = 86_400
# The newest picture; filters by date count from here, and not from the day of the benchmark.
END = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
YEARS = 8
KINDS = ("image", "video", "audio")
SHARES = (0.85, 0.05, 0.10)
SUFFIXES = {"image": "jpg", "video": "mp4", "audio": "mp3"}
FRAMES = 27  # pictures of a video
# Passages of an asset by kind, on average, and the share of images that show text.
WITH_TEXT = 0.3
PASSAGES = {"image": 0.88, "video": 20.0, "audio": 12.0}
VOCABULARY = 30_000
WORDS = 35  # of a passage
PIECE = 2_000  # assets in a transaction


@dataclass(frozen=True, slots=True)
class Words:
    """The vocabulary, and how often each word is drawn: by rank, as in a language (Zipf)."""

    names: list[str]
    shares: np.ndarray


def vocabulary() -> Words:
    """Words of three or four syllables that no language has, the most frequent first."""
    rng = np.random.default_rng(1)
    consonants, vowels = list("bdfgklmnprstvz"), list("aeiou")
    names: dict[str, None] = {}
    while len(names) < VOCABULARY:
        syllables = int(rng.integers(3, 5))
        names["".join(f"{rng.choice(consonants)}{rng.choice(vowels)}" for _ in range(syllables))] = None
    shares = 1 / (np.arange(VOCABULARY) + 5.0)
    return Words(list(names), shares / shares.sum())


def fill(db: sqlite3.Connection, assets: int, dimension: int) -> None:
    """Enter `assets` assets, each with a location and what was found of it."""
    from mediaflow.catalog.database import transaction

    rng, words = np.random.default_rng(0), vocabulary()
    sums = np.cumsum(words.shares)
    names = np.array(words.names)
    pictures, texts = _one_by_one(dimension, seed=2), _one_by_one(dimension, seed=3)
    for start in range(0, assets, PIECE):
        with transaction(db):
            for number in range(start, min(start + PIECE, assets)):
                drawn = Drawn(rng, names, sums)
                _enter(db, number, drawn, pictures, texts)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What chance says of one asset."""

    rng: np.random.Generator
    names: np.ndarray
    sums: np.ndarray

    def kind(self) -> str:
        """Image, video or audio."""
        return KINDS[int(np.searchsorted(np.cumsum(SHARES), self.rng.random()))]

    def text(self, count: int) -> str:
        """`count` words."""
        return " ".join(self.names[np.searchsorted(self.sums, self.rng.random(count))])


def library_of(number: int) -> str:
    """The library of an asset: one of a thousand is in the small one, one of 100,000 in the tiny one."""
    if number % 100_000 == 77:
        return TINY
    return SMALL if number % 1_000 == 500 else "default"


def _enter(
    db: sqlite3.Connection, number: int, drawn: Drawn, pictures: Iterator[Any], texts: Iterator[Any]
) -> None:
    from mediaflow.catalog import assets, findings, locations, passages, work
    from mediaflow.catalog.locations import Candidate

    rng, kind = drawn.rng, drawn.kind()
    when = END - float(rng.random()) * YEARS * 365 * DAY
    taken = datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")
    folder = f"/made/up/{taken[:4]}/{drawn.text(1) if number % 10 == 0 else taken[5:7]}"
    name = f"IMG_{number:06}.{SUFFIXES[kind]}"
    file = Candidate(os.fsencode(folder), os.fsencode(name), 1_000_000, int(when * 1e9), None)
    [location] = locations.enqueue(db, library_of(number), 0, "none", [file])
    media = {"width": 4000, "height": 3000, "format": "JPEG", "camera": "Made Up One"}
    if kind == "image" and number % 4:
        media["taken"] = taken
    asset = assets.add(db, f"{number:064x}", kind, 1_000_000, media)
    locations.prepared(db, location, asset)
    _judge(db, asset, kind, rng)
    shown = {"image": 1, "video": FRAMES, "audio": 0}[kind]
    rows = [("picture", at, None, float(at) if shown > 1 else None, next(pictures)) for at in range(shown)]
    if rows:
        findings.store(db, asset, "embed", PICTURE_SPACE, {}, 0.1)
        findings.store_vectors(db, asset, PICTURE_SPACE, ["picture"], rows)
        work.finish(db, asset, "embed", PICTURE_SPACE)
    task, source = ("ocr", "ocr") if kind == "image" else ("transcribe", "speech")
    average = PASSAGES[kind]
    if kind == "image":
        average = average / WITH_TEXT if rng.random() < WITH_TEXT else 0.0
    count = int(rng.poisson(average))
    pieces = [passages.Passage(drawn.text(WORDS), None, 8.0 * at, 8.0 * at + 8) for at in range(count)]
    findings.store(db, asset, task, "m", {"text": "", "lines": [], "segments": []}, 0.1)
    work.finish(db, asset, task, "m")
    if pieces:
        passages.replace(db, asset, source, pieces)
        values = [(source, at, None, None, next(texts)) for at in range(count)]
        findings.store_vectors(db, asset, TEXT_SPACE, [source], values)
        work.finish(db, asset, "embed", f"{TEXT_SPACE}/{source}")


def _judge(db: sqlite3.Connection, asset: int, kind: str, rng: np.random.Generator) -> None:
    from mediaflow.catalog import findings, work

    if kind == "audio":
        work.skip(db, asset, "nsfw", "m")
        return
    verdict = ("safe", "unsure", "unsafe")[int(np.searchsorted([0.97, 0.99], rng.random()))]
    findings.store(db, asset, "nsfw", "m", {"score": 0.1, "verdict": verdict, "worst": []}, 0.1)
    work.finish(db, asset, "nsfw", "m")


def _one_by_one(dimension: int, seed: int) -> Iterator[np.ndarray]:
    """Vectors (dimension,) of clusters, without end."""
    for piece in clustered(10**9, dimension, seed):
        yield from piece
