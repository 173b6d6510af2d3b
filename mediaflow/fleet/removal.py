"""Removal: a box is drained, destroyed, and looked for until the market lists it no more."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mediaflow.fleet import ledger
from mediaflow.fleet.health import DRAINING_SECONDS
from mediaflow.fleet.journal import Journal
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.listing import MISSING_LISTS, UNCERTAIN_SECONDS, Listing
from mediaflow.fleet.market import Market, MarketError

# After a box was told to drain, the gateway has written what is in its hands within so long.
WRITTEN_SECONDS = 15.0


class Removal:
    """Ends boxes, and what is ours and wanted by nobody (`strays`). All that it remembers may be lost."""

    def __init__(self, market: Market, db: sqlite3.Connection, listing: Listing, journal: Journal) -> None:
        self._market, self._db, self._listing, self._journal = market, db, listing, journal
        self.strays: list[int] = []
        self._told: set[int] = set()
        self._destroyed: dict[str, float] = {}
        self._refused: set[str] = set()

    def is_drained(self, box: Box, now: float) -> bool:
        """Whether a box has finished what it had in hand when it was told to drain, or had its time."""
        since = float((ledger.fact(self._db, f"drain {box.label}") or {}).get("since", 0))
        if now - since > DRAINING_SECONDS or box.hello is None:
            return True
        return box.in_hand == 0 and now - since > WRITTEN_SECONDS

    def is_over(self, box: Box, now: float) -> bool:
        """Whether a box at its end was destroyed and is not listed any more, or never came to be."""
        if box.contract is None:
            return self._listing.is_missing(box.label, now) and now - box.intended > UNCERTAIN_SECONDS
        destroyed = self._destroyed.get(box.label)
        return (
            destroyed is not None
            and self._listing.at > destroyed
            and self._listing.is_missing(box.label, now, lists=MISSING_LISTS - 1)
        )

    def lingers(self, box: Box) -> bool:
        """Whether a box at its end could not be destroyed: it goes on costing money."""
        return box.state == "ending" and box.label in self._refused

    def destroy(self, now: float, boxes: Sequence[Box]) -> None:
        """Destroy what is at its end, and strays, again and again until the list lacks them."""
        for contract in list(self.strays):
            try:
                self._market.destroy(contract)
            except MarketError as error:
                self._journal.in_trouble(now, f"A box cannot be ended: {error}")
                continue
            self.strays.remove(contract)  # the next list says whether it is there still
            if contract not in self._told:
                self._told.add(contract)
                ledger.event(self._db, now, f"destroyed contract {contract}, which nobody wanted")
        for box in boxes:
            if box.state != "ending" or box.contract is None:
                continue
            if box.label in self._destroyed and box.label not in self._listing.now:
                continue
            try:
                self._market.destroy(box.contract)
            except MarketError as error:
                self._refused.add(box.label)
                self._journal.in_trouble(now, f"Box {box.label} cannot be ended: {error}")
            else:
                self._refused.discard(box.label)
                self._destroyed.setdefault(box.label, now)

    def forget(self, label: str) -> None:
        """A box has ended."""
        self._destroyed.pop(label, None)
        self._refused.discard(label)
