"""Tiles of long pictures: every line is one box, also where tiles meet."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from jobs.tiles import OVERLAP, TILE, detect_in_tiles, tiles_of


def detect_ink(image: np.ndarray) -> np.ndarray:
    """The boxes of black rows on white: what a detector of lines does, without a model."""
    dark = (image[..., 0] < 128).any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], dark, [False]]).astype(int)))
    boxes = []
    for top, bottom in zip(edges[::2], edges[1::2], strict=True):
        columns = np.flatnonzero((image[top:bottom, :, 0] < 128).any(axis=0))
        left, right = columns[0], columns[-1] + 1
        boxes.append([[left, top], [right, top], [right, bottom], [left, bottom]])
    return np.array(boxes, np.float32).reshape(-1, 4, 2)


def drawn(size: tuple[int, int], *bars: tuple[int, int, int, int]) -> np.ndarray:
    image = np.full((size[1], size[0], 3), 255, np.uint8)
    for left, top, right, bottom in bars:
        image[top:bottom, left:right] = 0
    return image


def frames(boxes: np.ndarray) -> list[list[int]]:
    return sorted([*box.min(0).astype(int).tolist(), *box.max(0).astype(int).tolist()] for box in boxes)


def test_lines_of_a_tall_picture_are_found_once_wherever_tiles_meet() -> None:
    bars = [(20, top, 480, top + 40) for top in range(15, 9900, 61)]
    assert frames(detect_in_tiles(detect_ink, drawn((500, 10_000), *bars))) == sorted(map(list, bars))


def test_a_line_through_all_tiles_of_a_banner_is_one() -> None:
    bar = (100, 200, 11_900, 260)
    assert frames(detect_in_tiles(detect_ink, drawn((12_000, 500), bar))) == [list(bar)]


def test_a_letter_higher_than_the_overlap_is_one() -> None:
    top = TILE - OVERLAP
    bar = (50, top - 100, 450, top + OVERLAP + 200)
    assert frames(detect_in_tiles(detect_ink, drawn((500, 6_000), bar))) == [list(bar)]


def test_the_corners_of_a_joined_box_are_clockwise_from_the_top_left() -> None:
    (box,) = detect_in_tiles(detect_ink, drawn((9_000, 400), (100, 200, 8_000, 260)))
    assert np.abs(box - [[100, 200], [8_000, 200], [8_000, 260], [100, 260]]).max() <= 1


def test_an_ordinary_picture_is_seen_whole_and_once() -> None:
    seen: list[tuple[int, ...]] = []

    def look(image: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return np.zeros((0, 4, 2), np.float32)

    detect_in_tiles(look, drawn((2_000, 1_414)))
    assert seen == [(1_414, 2_000, 3)]


def test_empty_tiles_are_not_looked_at() -> None:
    seen: list[tuple[int, ...]] = []

    def look(image: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return detect_ink(image)

    detect_in_tiles(look, drawn((500, 20_000), (20, 100, 480, 140)))
    assert len(seen) == 1


@pytest.mark.parametrize("size", [(1_000, 14_815), (12_000, 500), (3_000, 2_600), (1_601, 1_600)])
def test_tiles_cover_the_picture_and_overlap(size: tuple[int, int]) -> None:
    covered = np.zeros((size[1], size[0]), np.uint8)
    for left, top, right, bottom in tiles_of(*size):
        assert right - left <= TILE
        assert bottom - top <= TILE
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1
    lefts = sorted({left for left, *_ in tiles_of(*size)})
    assert all(later - left <= TILE - OVERLAP for left, later in pairwise(lefts))
