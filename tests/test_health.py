"""The rules by which a box is no good any more, or not needed any more."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from jobs.weight import SOUND_SECONDS
from mediaflow.fleet import ledger
from mediaflow.fleet.backlog import Backlog
from mediaflow.fleet.health import Pace, Verdict, verdict
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.policies import Situation, idle
from mediaflow.fleet.speeds import Speeds
from tests.boxes import COLUMNS
from tests.world import MANY, World, settings
from workers.gateway.desk import Desk

BEGAN = 1_000_000.0
MINUTE = 60.0
WORKING: dict[str, Any] = {
    "label": "a", "token": "", "state": "working", "intended": BEGAN, "contract": 1, "running": BEGAN,
    "hello": BEGAN, "seen": BEGAN + 1e6, "lease": BEGAN + 1e6, "expires": BEGAN + 1e6,
}  # fmt: skip
SETTINGS = settings(idle_minutes=3, stuck_minutes=10)


def working(**columns: Any) -> Box:
    """A box that said hello at BEGAN and was heard of a moment ago."""
    with closing(ledger.open_ledger(":memory:")) as db:
        ledger.insert(db, COLUMNS | WORKING | columns)
        box = ledger.box(db, "a")
    assert box is not None
    return box


def judged(box: Box, minutes: float) -> str:
    """What is wrong with a box so many minutes after its hello; empty where nothing is."""
    found = verdict(box, None, 0.0, BEGAN + minutes * MINUTE, SETTINGS)
    return found.reason if found else ""


def is_idle(box: Box, minutes: float) -> bool:
    """Whether a box is let go so many minutes after its hello."""
    now = BEGAN + minutes * MINUTE
    situation = Situation(now, Backlog((), {}), SETTINGS, Speeds(), [box], list)
    return idle(situation) == ["a"]


def test_a_box_that_fetches_its_models_is_not_idle() -> None:
    assert not is_idle(working(), 19)
    assert not judged(working(), 19)


def test_a_box_whose_models_never_come_is_given_up() -> None:
    assert "models" in judged(working(), 21)


def test_a_box_is_idle_when_it_had_nothing_to_do_since_its_models_were_there() -> None:
    ready = BEGAN + 15 * MINUTE
    assert not is_idle(working(ready=ready), 17)
    assert is_idle(working(ready=ready), 19)
    assert not is_idle(working(ready=ready, worked=BEGAN + 18 * MINUTE), 19)


@pytest.mark.parametrize("ready", [None, BEGAN + 15 * MINUTE])
def test_the_first_result_is_waited_for_from_when_the_models_were_there(ready: float | None) -> None:
    box = working(ready=ready, in_hand=4)
    assert not judged(box, 16)
    assert judged(box, 26)


def test_a_box_with_a_long_recording_is_waited_for_longer() -> None:
    """Whatever it says itself: its owner may hold back the truth, and not more than this costs."""
    box = working(ready=BEGAN, in_hand=1, heaviest=12 * 3600 / SOUND_SECONDS)
    assert not judged(box, 40)
    assert judged(box, 60)
    assert judged(working(ready=BEGAN, in_hand=1, heaviest=3), 11)


class Fleet:
    """Boxes of one GPU that do what a test says, and the controller's rule about their pace."""

    def __init__(self) -> None:
        self.db = ledger.open_ledger(":memory:")
        self.pace = Pace()

    def does(self, label: str, items: int, weight: float, seconds: float) -> Verdict | None:
        """A box does the same again and again for an hour, and is looked at each time."""
        if ledger.box(self.db, label) is None:
            ledger.insert(self.db, COLUMNS | WORKING | {"label": label})
        for _ in range(round(3600 / seconds)):
            box = ledger.box(self.db, label)
            assert box is not None
            ledger.measured_of_box(self.db, box, "transcribe", items, weight, seconds, BEGAN)
            box = ledger.box(self.db, label)
            assert box is not None
            if found := self.pace.look(box, BEGAN):
                return found
        return None


def test_a_box_with_lectures_is_not_slow_beside_one_that_had_voice_memos() -> None:
    fleet = Fleet()
    assert not fleet.does("memos", items=100, weight=100, seconds=20)
    assert not fleet.does("lectures", items=1, weight=180, seconds=40)


def test_a_box_that_does_a_fifth_of_what_its_gpu_usually_does_is_slow() -> None:
    fleet = Fleet()
    assert not fleet.does("good", items=100, weight=100, seconds=20)
    assert fleet.does("slow", items=100, weight=100, seconds=100)


def test_of_two_boxes_that_become_slow_one_after_another_the_second_is_not_to_blame() -> None:
    fleet = Fleet()
    assert not fleet.does("photos", items=100, weight=100, seconds=20)
    assert fleet.does("scans", items=100, weight=100, seconds=100)
    assert not fleet.does("more scans", items=100, weight=100, seconds=500)


def test_the_time_of_a_long_item_counts_when_it_is_done() -> None:
    now = 0.0
    desk = Desk("a", lambda: now)
    desk.put("look", "model", [{"asset": "1"}])
    (piece,) = desk.waiting("look", 1)
    desk.give(piece, allowance=1, parts=1)
    now = 700.0
    assert not desk.spent()
    now = 800.0
    desk.answer(piece.id, {"data": {}})
    assert desk.spent()["look"].seconds == 800


@pytest.mark.slow
def test_a_slow_box_of_the_simulated_market_is_found() -> None:
    world = World(slow=1)
    for machine in world.account.prices.machines:
        for task, rate in machine.rates.items():
            ledger.measured(
                world.db, machine.model.name, task, rate * 1000, 1000, world.now, weight=rate * 1000
            )
    world.submit(3 * MANY)
    world.until(lambda: any("its work took" in what for what in world.events()))
