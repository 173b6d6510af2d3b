"""The concepts that an image classifier can tell apart, in words, from concepts.txt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

CONCEPTS = Path(__file__).resolve().parents[1] / "concepts.txt"


@dataclass(frozen=True, slots=True)
class Concept:
    """One class of the classifier: its English and German words, the usual one first, kind last."""

    english: tuple[str, ...]
    german: tuple[str, ...]


# What detectors add to the classes.
PEOPLE = Concept(("person", "man", "woman", "people"), ("Mensch", "Mann", "Frau", "Leute"))


@lru_cache(maxsize=1)
def load_concepts() -> tuple[Concept, ...]:
    """All concepts in the order of the classifier's outputs."""
    concepts = []
    kind: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    for line in CONCEPTS.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("="):
            kind = _words(line[1:])
            continue
        english, german = _words(line)
        concepts.append(Concept(english + kind[0], german + kind[1]))
    return tuple(concepts)


def _words(line: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    english, _, german = line.partition("|")
    return _split(english), _split(german)


def _split(words: str) -> tuple[str, ...]:
    return tuple(word for part in words.split(";") if (word := part.strip()))
