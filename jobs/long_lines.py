"""Text recognition in very long lines: piece by piece, so that cost and memory grow with length alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Widths in pixels of the normalized line. Few lines of a page are as long as one piece; the cost of attention
# grows with the square of a piece's length.
PIECE = 4800
OVERLAP = 480  # what neighbouring pieces share: about twenty letters

# From (1, 3, height, width) float32 to the scores (1, steps, characters) of each step along the line.
Recognise = Callable[[np.ndarray], np.ndarray]


def recognise_in_pieces(recognise: Recognise, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best character (steps,) int and its score (steps,) float of each step along a normalized line.

    `line` is (3, height, width) float32. Character 0 is the blank of CTC decoding.
    """
    best, scores = _look(recognise, line[:, :, :PIECE])
    shared = round(len(best) * OVERLAP / PIECE)
    for start in range(PIECE - OVERLAP, line.shape[2] - OVERLAP, PIECE - OVERLAP):
        more, sure = _look(recognise, line[:, :, start : start + PIECE])
        seam = _seam(best[-shared:], more[:shared])
        kept = len(best) - shared + seam
        best, scores = (
            np.concatenate([best[:kept], more[seam:]]),
            np.concatenate([scores[:kept], sure[seam:]]),
        )
    return best, scores


def _look(recognise: Recognise, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    (found,) = recognise(np.ascontiguousarray(part[None]))
    return found.argmax(axis=1), found.max(axis=1)


def _seam(one: np.ndarray, other: np.ndarray) -> int:
    """The step of what two pieces share at which the second takes over: between letters, near the middle.

    A letter may stand a step apart in the two, hence rather where both see the same beside the seam too.
    """
    middle = len(one) // 2
    same = one == other
    between = [at for at in range(1, len(one) - 1) if one[at] == 0 == other[at]]
    return min(between, key=lambda at: (not same[at - 1 : at + 2].all(), abs(at - middle)), default=middle)
