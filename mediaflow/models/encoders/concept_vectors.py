"""The text vectors of the concepts, worked out once per machine and kept beside the models."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mediaflow.models.encoders.concepts import CONCEPTS, PEOPLE, load_concepts
from mediaflow.models.encoders.e5 import E5
from mediaflow.models.encoders.minilm import MiniLM, unit
from mediaflow.models.registry import find_model
from mediaflow.settings import models_home

ENGLISH_PROMPT = "a photo of a {}"
GERMAN_PROMPT = "ein Foto von {}"
WORDS = 4


@dataclass(frozen=True, slots=True)
class ConceptVectors:
    """Rows (classes + 1, 384) float32 less the mean of the classes, the last one for people; the means."""

    english: np.ndarray
    multilingual: np.ndarray
    english_mean: np.ndarray
    multilingual_mean: np.ndarray


def concept_vectors(english: MiniLM, multilingual: E5) -> ConceptVectors:
    """The vectors of all concepts; from the cache, else by both encoders (some seconds) into it."""
    path = models_home() / "concepts" / f"{_fingerprint()}.npz"
    stored = _read(path)
    if stored is None:
        stored = _encode(english, multilingual)
        _write(path, stored)
    means = stored[:, :-1].mean(axis=1)
    return ConceptVectors(stored[0] - means[0], stored[1] - means[1], means[0], means[1])


def _encode(english: MiniLM, multilingual: E5) -> np.ndarray:
    """Both encoders' vectors (2, classes + 1, 384); the multilingual ones of German and English alike."""
    concepts = [*load_concepts(), PEOPLE]
    in_english = [ENGLISH_PROMPT.format(", ".join(concept.english[:WORDS])) for concept in concepts]
    in_german = [GERMAN_PROMPT.format(", ".join(concept.german[:WORDS])) for concept in concepts]
    both = unit(multilingual.encode_texts(in_english) + multilingual.encode_texts(in_german))
    return np.stack([english.encode_texts(in_english), both])


def _fingerprint() -> str:
    """What the vectors depend on: the words, the prompts, the weights of both encoders."""
    weights = [file.sha256 for name in ("minilm", "e5-small-multilingual") for file in find_model(name).files]
    prompts = [ENGLISH_PROMPT, GERMAN_PROMPT, str(WORDS)]
    parts = [CONCEPTS.read_text(encoding="utf-8"), repr(PEOPLE), *prompts, *weights]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read(path: Path) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            vectors: np.ndarray = file["vectors"]
            return vectors
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None  # not there, or cut short: it is made again


def _write(path: Path, vectors: np.ndarray) -> None:
    """Atomically; a folder that cannot be written costs a few seconds at the next start, no more."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(partial, vectors=vectors)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
