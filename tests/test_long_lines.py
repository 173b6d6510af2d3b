"""Recognition of very long lines: the pieces give what the whole line says, each letter once."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.long_lines import OVERLAP, PIECE, recognise_in_pieces

STEP = 8  # pixels
LETTERS = 5  # and the blank


def drawn(width: int) -> np.ndarray:
    """A line on which a letter stands every five steps, two steps wide; its value is its number."""
    line = np.zeros((3, 48, width), np.float32)
    for number, left in enumerate(range(STEP, width - 2 * STEP, 5 * STEP)):
        line[:, :, left : left + 2 * STEP] = 1 + number % LETTERS
    return line


def read(line: np.ndarray) -> np.ndarray:
    """Scores of each step: what a recogniser gives, without a model."""
    values = line[0, 0, 0, : line.shape[3] // STEP * STEP : STEP].astype(int)
    return np.eye(LETTERS + 1, dtype=np.float32)[None, values]


def letters(best: np.ndarray) -> list[int]:
    return [int(step) for at, step in enumerate(best) if step and (at == 0 or best[at - 1] != step)]


@pytest.mark.parametrize(
    "width",
    [320, PIECE, PIECE + 1, PIECE + STEP, 2 * PIECE - OVERLAP, 2 * PIECE - OVERLAP + 3, 100_000, 104_003],
)
def test_each_letter_of_a_line_of_any_length_is_read_once(width: int) -> None:
    line = drawn(width)
    best, scores = recognise_in_pieces(read, line)
    assert best.tolist() == read(line[None])[0].argmax(axis=1).tolist()
    assert len(scores) == len(best)
    assert len(letters(best)) == len(range(STEP, width - 2 * STEP, 5 * STEP))


def test_a_letter_that_moves_a_step_between_two_pieces_is_read_once() -> None:
    def jitter(part: np.ndarray) -> np.ndarray:
        found = read(part)
        calls.append(part.shape[3])
        return np.roll(found, len(calls) % 2, axis=1)

    calls: list[int] = []
    line = drawn(20_000)
    assert letters(recognise_in_pieces(jitter, line)[0]) == letters(read(line[None])[0].argmax(axis=1))


def test_no_piece_is_longer_than_the_limit() -> None:
    widths: list[int] = []

    def look(part: np.ndarray) -> np.ndarray:
        widths.append(part.shape[3])
        return read(part)

    recognise_in_pieces(look, drawn(50_000))
    assert max(widths) == PIECE
    assert sum(widths) < 50_000 * PIECE / (PIECE - OVERLAP) + PIECE
