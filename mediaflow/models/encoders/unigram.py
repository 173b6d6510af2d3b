"""A unigram tokenizer: the most probable pieces of a text, as SentencePiece cuts it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

SPACE = "\u2581"
UNKNOWN_PENALTY = 10.0


class Unigram:
    """Kudo 2018, "Subword Regularization": the best path through all pieces of the vocabulary.

    `pieces` are UTF-8, `scores` log probabilities. Texts are normalised by
    NFKC, with runs of white space as one space.
    """

    def __init__(
        self, pieces: Sequence[bytes], scores: Sequence[float], start: int, end: int, unknown: int
    ) -> None:
        self._scores = scores
        self._ids = dict(zip(pieces, range(len(pieces)), strict=True))
        self._ids.pop(pieces[unknown], None)
        self._longest = max(map(len, pieces))
        self._start, self._end, self._unknown = start, end, unknown
        self._unknown_score = min(scores) - UNKNOWN_PENALTY

    def encode(self, text: str, length: int) -> list[int]:
        """The ids of a text between start and end, at most `length` in all."""
        plain = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()
        reach = plain[: length * self._longest]  # no more can be among the first pieces
        ids = self._best(SPACE + reach.replace(" ", SPACE))
        return [self._start, *ids[: length - 2], self._end]

    def _best(self, text: str) -> list[int]:
        """Viterbi: for every place, the best last piece that ends there."""
        data = text.encode()
        edges = [place for place, byte in enumerate(data) if byte & 0xC0 != 0x80] + [len(data)]
        count = len(text)
        best = [0.0] + [float("-inf")] * count
        last = [(0, self._unknown)] * (count + 1)
        for begin in range(count):
            here = best[begin]
            for end in range(begin + 1, count + 1):
                if edges[end] - edges[begin] > self._longest and end > begin + 1:
                    break
                found = self._ids.get(data[edges[begin] : edges[end]])
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
