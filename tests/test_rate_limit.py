"""How often a box may ask."""

from __future__ import annotations

import pytest

from workers.gateway.rate_limit import RateLimit


@pytest.mark.parametrize("seconds", [1, 10, 1000])
def test_a_box_gets_what_is_its_and_a_few_seconds_more_at_once(seconds: int) -> None:
    now = 0.0
    limit = RateLimit(10, lambda: now)
    allowed = 0
    for number in range(100 * seconds):
        now = number / 100
        allowed += limit.allows("box")
    assert allowed == pytest.approx(10 * (seconds + RateLimit.BURST), abs=2)


def test_one_box_takes_nothing_from_another() -> None:
    limit = RateLimit(1, lambda: 0.0)
    while limit.allows("bad"):
        pass
    assert limit.allows("good")
