"""The desk of a box: what it keeps for it, for how long, and what it believes of the box's time."""

from __future__ import annotations

from typing import Any

import pytest

from workers.gateway.batch import Batch
from workers.gateway.desk import Desk

FINDING = {"data": {}, "vectors": [], "seconds": 1.0}


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(clock: Clock) -> Desk:
    return Desk("mediaflow-test-1", clock)


def put(desk: Desk, count: int, task: str = "look") -> Batch:
    return desk.put(task, "m", [{"asset": f"{number:064x}"} for number in range(count)])


def take(desk: Desk, most: int = 1000, task: str = "look") -> list[str]:
    """The ids of the items that the box gets."""
    return [piece.id for piece in desk.waiting(task, most) if desk.give(piece, 1000, 1)]


def answers(batch: Batch) -> list[dict[str, Any]]:
    return [result for _, result in batch.wait(0)]


# --- what a box may keep ------------------------------------------------------------------------


def test_what_a_box_does_not_answer_in_time_others_do(desk: Desk, clock: Clock) -> None:
    batch = put(desk, 3)
    take(desk, 2)
    clock.now = 101
    assert desk.give_back_late("look", 100) == 2
    assert [set(result) for result in answers(batch)] == [{"elsewhere", "box"}] * 2
    assert desk.counts() == (1, 0)


def test_a_new_hello_gives_a_box_no_more_time_for_what_it_has(desk: Desk, clock: Clock) -> None:
    batch = put(desk, 4)
    for clock.now in range(0, 101, 10):
        desk.begin_anew()
        take(desk)
    assert desk.give_back_late("look", 100) == 0
    clock.now = 101
    assert desk.give_back_late("look", 100) == 4
    assert batch.outstanding == 0


def test_what_a_box_asks_for_and_never_takes_does_not_wait_for_ever(desk: Desk, clock: Clock) -> None:
    put(desk, 4)
    for clock.now in range(0, 201, 10):
        desk.waiting("look", 1)
    assert desk.give_back_late("look", 100) == 0
    clock.now = 201
    assert desk.give_back_late("look", 100) == 4


def test_an_item_that_was_given_back_is_answered_once(desk: Desk, clock: Clock) -> None:
    batch = put(desk, 2)
    ids = take(desk)
    desk.begin_anew()
    clock.now = 1000
    desk.give_back_unasked("look")
    assert not any(desk.answer(id, FINDING) for id in ids)
    assert batch.outstanding == 0


def test_items_that_did_not_reach_the_box_wait_again(desk: Desk) -> None:
    put(desk, 3)
    pieces = desk.waiting("look", 2)
    assert all(desk.give(piece, 1000, 1) for piece in pieces)
    desk.take_back(pieces)
    assert desk.counts() == (3, 0)
    assert desk.waiting("look", 2) == pieces


# --- boxes that do not do what they take -----------------------------------------------------------


@pytest.mark.parametrize(
    "undone", [{"elsewhere": "x", "box": "b"}, {"home": "x"}, {"reason": "x", "box": "b"}]
)
def test_a_desk_is_closed_when_most_answers_are_no_findings(desk: Desk, undone: dict[str, Any]) -> None:
    batch = put(desk, 60)
    ids = take(desk)
    for id in ids[:20]:
        desk.answer(id, undone)
    assert not desk.closed
    desk.answer(ids[20], undone)
    assert desk.closed
    assert "look" in desk.trouble
    assert batch.outstanding == 0
    assert len(answers(batch)) == 21


def test_half_of_the_answers_may_be_no_findings(desk: Desk) -> None:
    put(desk, 200)
    for number, id in enumerate(take(desk)):
        desk.answer(id, FINDING if number % 2 else {"home": "x"})
    assert not desk.trouble


def test_tasks_are_counted_apart(desk: Desk) -> None:
    for task in ("look", "late"):
        put(desk, 20, task)
        for id in take(desk, task=task):
            desk.answer(id, {"home": "x"})
    assert not desk.trouble


# --- the time that its work takes --------------------------------------------------------------


def test_a_box_that_says_hello_while_it_works_does_not_seem_faster(desk: Desk, clock: Clock) -> None:
    for _ in range(10):
        put(desk, 100)
        ids = take(desk)
        desk.begin_anew()
        clock.now += 5
        for id in ids:
            desk.answer(id, FINDING)
    spent = desk.spent()["look"]
    assert (spent.items, spent.seconds) == (1000, pytest.approx(50))


def test_the_time_in_which_a_box_has_nothing_in_hand_is_not_counted(desk: Desk, clock: Clock) -> None:
    put(desk, 1)
    clock.now = 10
    [id] = take(desk)
    clock.now = 13
    desk.answer(id, FINDING)
    clock.now = 20
    assert desk.spent()["look"].seconds == pytest.approx(3)
