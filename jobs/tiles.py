"""Text detection in very long or very large pictures: tile by tile, what two tiles see joined."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

TILE = 1600  # pixels of a tile's side at most: what the detector sees without making it smaller
OVERLAP = 320  # pixels that neighbouring tiles share at least; more than most lines are high
# A picture that the detector would see smaller than this is looked at in tiles.
MIN_SCALE = 0.7
_SAME = 0.5  # the part of the smaller of two boxes that both share where two tiles overlap
_COVERED = 0.9  # the part of a box that lies in another one, which makes it superfluous
_EVEN = 8  # grey levels: a tile that spans no more holds no text

Rect = tuple[int, int, int, int]  # left, top, right, bottom
Detect = Callable[[np.ndarray], np.ndarray]


def detect_in_tiles(detect: Detect, image: np.ndarray) -> np.ndarray:
    """Boxes (n, 4, 2) float32 of the lines in an image (height, width, 3) uint8, in its pixels.

    `detect` finds those of a picture of ordinary size. A line that goes through several tiles is one box.
    """
    height, width = image.shape[:2]
    if max(height, width) * MIN_SCALE <= TILE:
        return detect(image)
    boxes: list[np.ndarray] = []
    tiles: list[Rect] = []
    for tile in tiles_of(width, height):
        left, top, right, bottom = tile
        part = image[top:bottom, left:right]
        if np.ptp(part[::4, ::4], axis=(0, 1)).max() <= _EVEN and np.ptp(part, axis=(0, 1)).max() <= _EVEN:
            continue
        for box in detect(np.ascontiguousarray(part)):
            boxes.append(box + np.array([left, top], np.float32))
            tiles.append(tile)
    return joined(boxes, tiles)


def tiles_of(width: int, height: int) -> list[Rect]:
    """Tiles that cover a picture of this size, with OVERLAP between neighbours."""
    return [
        (left, top, min(left + TILE, width), min(top + TILE, height))
        for top in _starts(height)
        for left in _starts(width)
    ]


def joined(boxes: list[np.ndarray], tiles: list[Rect]) -> np.ndarray:
    """Boxes (n, 4, 2) in which what was seen from two tiles is one; `tiles` says whence each was seen."""
    if not boxes:
        return np.zeros((0, 4, 2), np.float32)
    frames = np.array([[*box.min(0), *box.max(0)] for box in boxes])
    groups = list(range(len(boxes)))
    for one, other in combinations(range(len(boxes)), 2):
        if tiles[one] != tiles[other] and _is_same(frames[one], frames[other], tiles[one], tiles[other]):
            gone, kept = groups[other], groups[one]
            groups = [kept if group == gone else group for group in groups]
    members = [[i for i, group in enumerate(groups) if group == each] for each in dict.fromkeys(groups)]
    return np.stack([_union([boxes[i] for i in each]) for each in members]).astype(np.float32)


def _starts(length: int) -> list[int]:
    if length <= TILE:
        return [0]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    return [int(start) for start in np.linspace(0, length - TILE, count)]


def _is_same(one: np.ndarray, other: np.ndarray, tile: Rect, other_tile: Rect) -> bool:
    """Whether two boxes from two tiles are parts of one line: they agree where both tiles look."""
    shared = _intersection(np.array(tile), np.array(other_tile))
    first, second = _intersection(one, shared), _intersection(other, shared)
    smaller = min(_area(first), _area(second))
    return smaller > 0 and _area(_intersection(first, second)) >= _SAME * smaller


def _union(boxes: list[np.ndarray]) -> np.ndarray:
    """The box of a line that was seen in parts; the largest alone where it covers the others."""
    import cv2

    frames = [np.array([*box.min(0), *box.max(0)]) for box in boxes]
    largest = max(range(len(boxes)), key=lambda i: _area(frames[i]))
    if all(_area(_intersection(frame, frames[largest])) >= _COVERED * _area(frame) for frame in frames):
        return boxes[largest]
    corners = cv2.boxPoints(cv2.minAreaRect(np.concatenate(boxes).astype(np.float32)))
    corners = np.roll(corners, -int(corners.sum(axis=1).argmin()), axis=0)  # from the top left
    (x1, y1), (x2, y2) = corners[1] - corners[0], corners[3] - corners[0]
    return corners if x1 * y2 - y1 * x2 > 0 else corners[[0, 3, 2, 1]]  # clockwise


def _intersection(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])])


def _area(frame: np.ndarray) -> float:
    return float(max(0.0, frame[2] - frame[0]) * max(0.0, frame[3] - frame[1]))
