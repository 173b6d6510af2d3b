"""Reading order: from boxes of lines to rows of text, top to bottom, columns where they are plain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

# Columns are plain where both sides hold some lines of running text: this many, this many times
# as wide as high. A table's or a receipt's column of numbers is not, and is read row by row.
COLUMN_LINES = 4
COLUMN_WIDTH = 8.0
# Headlines may cross the gutter, but no more than this share of all lines.
CROSSING = 0.2


def reading_order(boxes: np.ndarray, turn: int = 0) -> list[list[int]]:
    """Rows of indices of boxes (n, 4, 2), as a person reads them; every index appears once.

    `turn` is how many quarter turns clockwise the text stands: 1 reads downwards, 3 upwards.
    """
    if len(boxes) == 0:
        return []
    points = np.asarray(boxes, dtype=np.float64)
    x, y = points[..., 0], points[..., 1]
    x, y = [(x, y), (y, -x), (-x, -y), (-y, x)][turn % 4]
    frames = np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], axis=1)
    return _columns(frames, np.arange(len(frames)))


def _columns(frames: np.ndarray, members: np.ndarray) -> list[list[int]]:
    """Rows of the members, one column after the other between the lines that cross the gutter."""
    gutter = _gutter(frames[members])
    if gutter is None:
        return _rows(frames, members)
    centre = (frames[:, 1] + frames[:, 3]) / 2
    crosses = (frames[members, 0] < gutter) & (gutter < frames[members, 2])
    crossing, rest = members[crosses], members[~crosses]
    edges = [-np.inf, *np.unique(centre[crossing]), np.inf]
    order: list[list[int]] = []
    for above, below in pairwise(edges):
        order += _rows(frames, crossing[centre[crossing] == above])
        band = rest[(centre[rest] > above) & (centre[rest] <= below)]
        is_left = frames[band, 2] <= gutter
        order += _columns(frames, band[is_left]) + _columns(frames, band[~is_left])
    return order


def _gutter(frames: np.ndarray) -> float | None:
    """The x between two plain columns of running text, or None."""
    height = float(np.median(frames[:, 3] - frames[:, 1])) if len(frames) else 0.0
    best, best_lines = None, COLUMN_LINES - 1
    for x in frames[:, 2] + height / 4:
        left, right = frames[frames[:, 2] <= x], frames[frames[:, 0] >= x]
        lines = min(len(left), len(right))
        if lines <= best_lines or len(frames) - len(left) - len(right) > CROSSING * len(frames):
            continue
        if _is_prose(left) and _is_prose(right) and _side_by_side(left, right):
            best, best_lines = float(x), lines
    return best


def _is_prose(frames: np.ndarray) -> bool:
    width, height = frames[:, 2] - frames[:, 0], frames[:, 3] - frames[:, 1]
    return bool(np.median(width / np.maximum(height, 1)) >= COLUMN_WIDTH)


def _side_by_side(left: np.ndarray, right: np.ndarray) -> bool:
    shared = min(left[:, 3].max(), right[:, 3].max()) - max(left[:, 1].min(), right[:, 1].min())
    lower = min(np.ptp(left[:, [1, 3]]), np.ptp(right[:, [1, 3]]))
    return bool(shared > lower / 2)


def _rows(frames: np.ndarray, members: np.ndarray) -> list[list[int]]:
    """Members grouped to rows; a box joins the row whose nearest box it overlaps by half its height."""
    rows: list[list[int]] = []
    for member in sorted(members.tolist(), key=lambda m: frames[m, 1] + frames[m, 3]):
        row = next((row for row in reversed(rows) if _is_level(frames, row, member)), None)
        if row is None:
            rows.append([member])
        else:
            row.append(member)
    return [sorted(row, key=lambda m: frames[m, 0]) for row in rows]


def _is_level(frames: np.ndarray, row: Sequence[int], member: int) -> bool:
    box = frames[member]
    if any(min(frames[m, 2], box[2]) - max(frames[m, 0], box[0]) > 0.3 * (box[2] - box[0]) for m in row):
        return False  # it lies above or below a box of the row, however close
    near = frames[min(row, key=lambda m: abs(frames[m, 0] + frames[m, 2] - box[0] - box[2]))]
    shared = min(near[3], box[3]) - max(near[1], box[1])
    return bool(shared > min(near[3] - near[1], box[3] - box[1]) / 2)
