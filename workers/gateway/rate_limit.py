"""Rate limits: how often each box may ask."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimit:
    """A token bucket for each box: so many requests a second, and BURST times as many at once."""

    BURST = 5.0

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._clock = per_second, clock
        self._left: dict[str, tuple[float, float]] = {}

    def allows(self, box: str) -> bool:
        """Whether a box may ask now; counts that it does."""
        now, most = self._clock(), self._per_second * self.BURST
        left, since = self._left.get(box, (most, now))
        left = min(most, left + (now - since) * self._per_second)
        allowed = left >= 1
        self._left[box] = (left - allowed, now)
        return allowed
