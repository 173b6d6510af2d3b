"""From similarities to probabilities: how far a hit stands out from everything else in its space.

Inner products of different spaces cannot be compared: CLIP's lie between 0.15 and 0.35, a text
model's between 0 and 1. How many standard deviations a hit lies above the rest can. Measured beside
reciprocal rank fusion in docs/search.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mediaflow.search.request import Where

# A hit this many deviations above the rest is relevant with even odds; the probability grows by a
# logistic curve of this `WIDTH`. Text stands out further from other text than pictures from other pictures.
MIDDLE: dict[Where, float] = {"image": 3.0, "ocr": 4.5, "speech": 4.5}
WIDTH = 0.7
# The largest probability of a hit: a space may be certain and wrong, while matching words are a fact.
TRUST: dict[Where, float] = {"image": 0.7, "ocr": 0.8, "speech": 0.8}
# With fewer other vectors there is no background to compare with.
FEW = 3
MIN_DEVIATION = 0.03
MAX_EXPONENT = 700.0  # a float holds e to the power of 709


@dataclass(frozen=True, slots=True)
class Background:
    """How similar a query is to a space at large: from a sample, or from all of a small one."""

    scores: np.ndarray
    whole: bool

    def probability(self, score: float, where: Where) -> float:
        """The probability that a hit with this inner product is relevant, in [0, 1]."""
        others = len(self.scores) - self.whole
        if others < FEW:
            return 0.5 * TRUST[where]
        scores = self.scores.astype(np.float64)
        total, squares = float(scores.sum()), float(np.square(scores).sum())
        if self.whole:  # the hit itself is among them: it must not be its own background
            total, squares = total - score, squares - score * score
        mean = total / others
        deviation = max(MIN_DEVIATION, math.sqrt(max(0.0, squares / others - mean * mean)))
        away = ((score - mean) / deviation - MIDDLE[where]) / WIDTH
        return TRUST[where] / (1 + math.exp(min(-away, MAX_EXPONENT)))
