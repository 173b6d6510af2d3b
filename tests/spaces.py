"""Spaces of few dimensions for tests of search: a catalog with vectors, and encoders that hash words."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mediaflow.catalog import assets, findings, locations, passages, work
from mediaflow.catalog.locations import Candidate
from mediaflow.catalog.passages import Passage
from mediaflow.models import encoders
from mediaflow.settings import load_settings

DIMENSION = 8
TEXT, IMAGE = "tiny-text", "tiny-image"


class Tiny:
    """Turns a text into the mean of its words' vectors: what shares words is near."""

    def __init__(self, space: str, dimension: int = DIMENSION) -> None:
        self.space = self.visual_space = space
        self.dimension = dimension

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length."""
        return np.stack([text_vector(text, self.dimension) for text in texts])

    encode_queries = encode_texts

    def describe(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The vectors of pictures by space: of their mean colour."""
        colours = [f"{int(image.mean())}" for image in images]
        return {self.space: self.encode_texts(colours)}


def text_vector(text: str, dimension: int = DIMENSION) -> np.ndarray:
    """The vector (dimension,) float32 of unit length of a text."""
    seeds = [
        int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]) for word in text.lower().split() or [""]
    ]
    total = np.sum([np.random.default_rng(seed).standard_normal(dimension) for seed in seeds], axis=0)
    return (total / np.linalg.norm(total)).astype(np.float32)


def use_tiny_spaces(monkeypatch: pytest.MonkeyPatch, dimension: int = DIMENSION) -> None:
    """Have the settings name the two spaces, with these encoders for models."""
    monkeypatch.setenv("MEDIAFLOW_SPACES__TEXT", f"file:/{TEXT}")
    monkeypatch.setenv("MEDIAFLOW_SPACES__IMAGE", f"file:/{IMAGE}")
    load_settings.cache_clear()
    monkeypatch.setattr(encoders, "text_encoder", lambda _settings: Tiny(TEXT, dimension))
    monkeypatch.setattr(encoders, "image_encoder", lambda _settings, **_: Tiny(IMAGE, dimension))


def enter(
    db: sqlite3.Connection,
    path: str,
    *,
    shows: str | None = None,
    says: str | None = None,
    kind: str = "image",
    library: str = "default",
    when: float = 1e9,
    verdict: str | None = None,
) -> int:
    """A prepared file that shows and says this, with its vectors; the asset's id.

    Two files for which all of this is the same are one asset.
    """
    folder, name = os.path.split(os.fsencode(path))
    [location] = locations.enqueue(db, library, 1, "job", [Candidate(folder, name, 1, int(when * 1e9), None)])
    content = hashlib.sha256(repr((shows, says, kind, verdict)).encode()).hexdigest()
    asset = assets.add(db, content, kind, 1, {})
    locations.prepared(db, location, asset)
    if shows is not None:
        findings.store(db, asset, "embed", IMAGE, {}, 0.1)
        rows = [("picture", 0, None, None, text_vector(shows))]
        findings.store_vectors(db, asset, IMAGE, ["picture"], rows)
        work.finish(db, asset, "embed", IMAGE)
    if says is not None:
        source, task = ("speech", "transcribe") if kind == "audio" else ("ocr", "ocr")
        findings.store(db, asset, task, "m", {"lines": [], "segments": []}, 0.1)
        passages.replace(db, asset, source, [Passage(says)])
        findings.store_vectors(db, asset, TEXT, [source], [(source, 0, None, None, text_vector(says))])
        work.finish(db, asset, task, "m")
        work.finish(db, asset, "embed", f"{TEXT}/{source}")
    if verdict is not None:
        findings.store(db, asset, "nsfw", "m", {"verdict": verdict, "score": 0.5, "worst": []}, 0.1)
    return asset


def name_of(path: str) -> str:
    """The last part of a path."""
    return Path(path).name
