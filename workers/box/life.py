"""How long a box may live: its order, its lease, silence and hours, by a clock that nobody can set."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from mediaflow.errors import MediaflowError


class Over(MediaflowError):
    """The box is to end: whatever waits gives up."""


class Life:
    """What was last heard of the gateway, and whether the box is over; any thread may ask."""

    def __init__(
        self,
        hours: float,
        silence_minutes: float,
        heartbeat: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._silence = silence_minutes * 60
        self._heartbeat = heartbeat
        self._hours_end = clock() + hours * 3600
        self._heard = clock()
        self._lease_end = float("inf")  # not known before the first word
        self._order = "work"
        self._reason = ""

    def heard(self, order: str, lease: float) -> None:
        """The gateway has answered: its order, and for how many seconds the credential is good."""
        self._heard = self._clock()
        self._lease_end = self._heard + lease
        self._order = order
        if self._heartbeat is not None:
            self._heartbeat.touch()
        if order == "end":
            self.end("the gateway says so")

    def end(self, reason: str) -> None:
        """The box is over; the first reason counts."""
        # No lock: a signal may say so while another call of this is under way.
        self._reason = self._reason or reason

    @property
    def draining(self) -> bool:
        """Whether no more items are to be taken; what is in hand is finished."""
        return self._order == "drain"

    def over(self) -> bool:
        """Whether the box is to end now."""
        now = self._clock()
        if now > self._hours_end:
            self.end("its hours are over")
        elif now > self._heard + self._silence:
            self.end("the gateway has not been heard of for too long")
        elif now > self._lease_end:
            self.end("its lease was not renewed")
        return bool(self._reason)

    @property
    def reason(self) -> str:
        """Why it is over; empty while it is not."""
        return self._reason

    def wait(self, seconds: float) -> bool:
        """Wait; False as soon as the box is over."""
        until = time.monotonic() + seconds
        while not self.over():
            left = until - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(left, 0.25))
        return False
