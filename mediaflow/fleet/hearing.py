"""Hearing: whether boxes can be heard here at all. While they cannot, their silence says nothing of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mediaflow.fleet.ledger import Box


class Hearing:
    """Since when boxes could be heard without a break. All that it remembers may be lost.

    They are heard while the market's list can be read, so that this machine has a network, and its gateway
    serves; a longer time in which nobody looked is a break too.
    """

    def __init__(self, serves: Callable[[], bool], most: float) -> None:
        """`most`: seconds of a break that is none yet."""
        self._serves, self._most = serves, most
        self._at = float("-inf")
        self._since = float("inf")
        self._lapsed: set[str] = set()
        self.served = True

    def look(self, now: float, boxes: Sequence[Box], *, listed: bool) -> None:
        """Once a tick, before leases are renewed. `listed`: the market's list was read in this tick."""
        self.served = self._serves()
        if listed and self.served:
            if now - self._at > self._most:
                self._since = now
            self._at = now
        lapsed = {box.label for box in boxes if box.lease < now}
        heard = {box.label for box in boxes if (box.seen or 0.0) > self._since}
        self._lapsed = (self._lapsed & {box.label for box in boxes} - heard) | lapsed

    def since(self, now: float) -> float:
        """Since when boxes can be heard; infinity where they cannot be heard now."""
        return self._since if self._at == now else float("inf")

    def lapsed(self, box: Box) -> bool:
        """Whether a box's lease ran out, and it was not heard of since: it may have ended itself, rightly."""
        return box.label in self._lapsed
