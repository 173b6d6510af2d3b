"""The rules by which a box is no good any more, or not needed any more."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from mediaflow.fleet import ledger
from mediaflow.fleet.backlog import Backlog
from mediaflow.fleet.health import verdict
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.policies import Situation, idle
from mediaflow.fleet.speeds import Speeds
from tests.boxes import COLUMNS
from tests.world import settings

BEGAN = 1_000_000.0
MINUTE = 60.0
SETTINGS = settings(idle_minutes=3, stuck_minutes=10)


def working(**columns: Any) -> Box:
    """A box that said hello at BEGAN and was heard of a moment ago."""
    known: dict[str, Any] = {"label": "a", "token": "", "state": "working", "hello": BEGAN, "intended": BEGAN}
    known |= {
        "contract": 1,
        "running": BEGAN,
        "lease": BEGAN + 1e6,
        "expires": BEGAN + 1e6,
        "seen": BEGAN + 1e6,
    }
    with closing(ledger.open_ledger(":memory:")) as db:
        ledger.insert(db, COLUMNS | known | columns)
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
