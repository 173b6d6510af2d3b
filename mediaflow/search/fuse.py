"""Fusion of evidence: one score for each asset from words, names and spaces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mediaflow.search.request import Match, Where
from mediaflow.search.words import TextHit

# Half of a query's words is much less than half a hit.
COVERAGE_POWER = 2
# One word may match by chance, and "a dog" asks for dogs more than for the word; a second and a third
# matching word leave little doubt.
CHANCE = 0.35
# A name says less than the content of the file: every picture of a camera is an IMG.
NAME_TRUST = 0.6
MAX_SCORE = 0.99


@dataclass(frozen=True, slots=True)
class Evidence:
    """One match of an asset; its score is the probability that the asset is relevant by this match alone."""

    asset: int
    by: Literal["words", "space"]
    match: Match


def text_evidence(hits: Iterable[TextHit], words: int) -> list[Evidence]:
    """The evidence of passages and names that match; `words` is the number of words of the query."""
    evidence = []
    trust = 1 - CHANCE**words
    for hit in hits:
        where: Where = {"ocr": "ocr", "speech": "speech"}.get(hit.source, "name")  # type: ignore[assignment]
        score = hit.score**COVERAGE_POWER * (NAME_TRUST if where == "name" else trust)
        match = Match(where, score, hit.text, hit.start, hit.end, hit.page)
        evidence.append(Evidence(hit.asset, "words", match))
    return evidence


def fuse(evidence: Iterable[Evidence]) -> list[tuple[int, float, list[Match]]]:
    """(asset, score, matches best first) for each asset, best first.

    Evidence of different kinds is taken as independent: the score is the probability that at least
    one piece is right (noisy or). Of each kind only the best counts, or a long video would win.
    """
    best: dict[int, dict[tuple[Where, str], float]] = {}
    matches: dict[int, list[Match]] = {}
    for piece in evidence:
        kinds = best.setdefault(piece.asset, {})
        kind = (piece.match.where, piece.by)
        kinds[kind] = max(kinds.get(kind, 0.0), piece.match.score)
        matches.setdefault(piece.asset, []).append(piece.match)
    ranked = []
    for asset, kinds in best.items():
        wrong = 1.0
        for score in kinds.values():
            wrong *= 1 - min(score, MAX_SCORE)
        ranked.append((asset, 1 - wrong, _distinct(matches[asset])))
    return sorted(ranked, key=lambda entry: -entry[1])


def _distinct(matches: list[Match]) -> list[Match]:
    """Best first, without duplicates: words and meaning often find the same passage."""
    kept: dict[tuple[object, ...], Match] = {}
    for match in sorted(matches, key=lambda match: -match.score):
        kept.setdefault((match.where, match.text, match.start, match.page), match)
    return list(kept.values())
