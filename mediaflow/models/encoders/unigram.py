"""A unigram tokenizer: the most probable pieces of a text, as SentencePiece cuts it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

SPACE = "\u2581"
UNKNOWN_PENALTY = 10.0


class Unigram:
    """Kudo 2018, "Subword Regularization": the best path through all pieces of the vocabulary.

    `scores` are log probabilities. Texts are normalised by NFKC, with runs of white space as one.
    """

    def __init__(
        self, pieces: Sequence[str], scores: Sequence[float], start: int, end: int, unknown: int
    ) -> None:
        self._scores = list(scores)
        self._ids = {piece: index for index, piece in enumerate(pieces) if index != unknown}
        self._longest = max(map(len, pieces))
        self._start, self._end, self._unknown = start, end, unknown
        self._unknown_score = min(scores) - UNKNOWN_PENALTY

    def encode(self, text: str, length: int) -> list[int]:
        """The ids of a text between start and end, at most `length` in all."""
        plain = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()
        ids = self._best(SPACE + plain.replace(" ", SPACE))
        return [self._start, *ids[: length - 2], self._end]

    def _best(self, text: str) -> list[int]:
        """Viterbi: for every place, the best last piece that ends there."""
        count = len(text)
        best = [0.0] + [float("-inf")] * count
        last = [(0, self._unknown)] * (count + 1)
        for begin in range(count):
            here = best[begin]
            for end in range(begin + 1, min(begin + self._longest, count) + 1):
                found = self._ids.get(text[begin:end])
                if found is None:
                    if end > begin + 1:
                        continue
                    score, found = here + self._unknown_score, self._unknown
                else:
                    score = here + self._scores[found]
                if score > best[end]:
                    best[end], last[end] = score, (begin, found)
        ids = []
        place = count
        while place:
            place, found = last[place]
            ids.append(found)
        return ids[::-1]
