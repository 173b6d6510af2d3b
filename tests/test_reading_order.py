"""In which order lines of text are read."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.reading_order import reading_order


def box(left: float, top: float, width: float, height: float = 20) -> list[list[float]]:
    return [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]


def test_rows_are_read_from_top_to_bottom_and_each_from_left_to_right() -> None:
    boxes = np.array([box(300, 52, 80), box(10, 100, 200), box(10, 50, 100), box(10, 0, 300)])
    assert reading_order(boxes) == [[3], [2, 0], [1]]


def test_a_label_and_its_amount_far_to_the_right_are_one_row() -> None:
    lines = [box(10, 30 * row, 300) for row in range(8)]
    amounts = [box(700, 30 * row + 3, 60) for row in range(8)]
    assert reading_order(np.array(lines + amounts)) == [[row, row + 8] for row in range(8)]


def test_two_columns_of_running_text_are_read_one_after_the_other() -> None:
    left = [box(10, 30 * row, 400) for row in range(6)]
    right = [box(450, 30 * row, 400) for row in range(6)]
    assert reading_order(np.array(left + right)) == [[index] for index in range(12)]


def test_a_headline_across_both_columns_is_read_where_it_stands() -> None:
    top = [box(10, 0, 840)]
    left = [box(10, 50 + 30 * row, 400) for row in range(6)]
    right = [box(450, 50 + 30 * row, 400) for row in range(6)]
    assert reading_order(np.array(right + top + left)) == [[i] for i in (6, *range(7, 13), *range(6))]


def test_a_page_on_its_head_is_read_from_its_own_top() -> None:
    boxes = np.array([box(10, 0, 300), box(10, 50, 300), box(10, 100, 300)])
    assert reading_order(boxes, turn=2) == [[2], [1], [0]]


def test_a_page_that_reads_downwards_starts_at_its_right() -> None:
    boxes = np.array([box(0, 10, 20, 300), box(50, 10, 20, 300), box(100, 10, 20, 300)])
    assert reading_order(boxes, turn=1) == [[2], [1], [0]]
    assert reading_order(boxes, turn=3) == [[0], [1], [2]]


def test_a_row_that_slopes_stays_a_row() -> None:
    boxes = np.array([box(150 * word, 4 * word, 120) for word in range(8)])
    assert reading_order(boxes) == [list(range(8))]


@given(
    st.lists(st.tuples(*[st.integers(0, 1000)] * 2, st.integers(1, 900), st.integers(1, 60)), max_size=40),
    st.integers(0, 3),
)
def test_every_line_is_read_once(frames: list[tuple[int, int, int, int]], turn: int) -> None:
    order = reading_order(np.array([box(*frame) for frame in frames]), turn)
    assert sorted(index for row in order for index in row) == list(range(len(frames)))
