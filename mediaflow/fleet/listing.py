"""The market's list beside the ledger: what is ours, what is missing, what nobody ordered."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mediaflow.fleet import ledger
from mediaflow.fleet.labels import Labels
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.market import Instance

# What is not in the list for so long, and in so many lists one after another, is not there.
MISSING_SECONDS = 180.0
MISSING_LISTS = 3
# An order whose answer was lost: the box may still come into the list.
UNCERTAIN_SECONDS = 600.0


@dataclass(slots=True)
class Listing:
    """What the lists said so far of the boxes of these labels. All of it may be lost."""

    labels: Labels
    # Since when, and how many times in a row, a box of the ledger is not in the list.
    missing: dict[str, tuple[float, int]] = field(default_factory=dict)
    # What a box is said to do, and since when that has not changed.
    said: dict[str, tuple[str, float]] = field(default_factory=dict)
    now: dict[str, Instance] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    # Contracts that have our name and are not ours.
    others: set[int] = field(default_factory=set)
    empty: int = 0
    at: float = float("-inf")

    def is_odd(self, instances: Sequence[Instance], boxes: Sequence[Box]) -> bool:
        """Whether all boxes are gone at once: that is believed when it is said again and again."""
        wanted = [box for box in boxes if box.state != "ending" and box.label in self.listed]
        self.empty = self.empty + 1 if wanted and not instances else 0
        return 0 < self.empty < MISSING_LISTS

    def enter(
        self, db: sqlite3.Connection, instances: Sequence[Instance], boxes: Sequence[Box], now: float
    ) -> list[int]:
        """Bring the ledger up to date with a list; the contracts that are ours and wanted by nobody."""
        strays: list[int] = []
        known = {box.label: box for box in boxes}
        seen: dict[str, Instance] = {}
        for instance in instances:
            if not self.labels.is_named(instance.label):
                continue
            box = known.get(instance.label)
            if box is None and not self.labels.is_own(instance.label, db):
                if instance.contract not in self.others:
                    what = f"contract {instance.contract} has this name and is not of this home: it is left"
                    ledger.event(db, now, f"{what} (mediaflow fleet doctor)", instance.label)
                self.others.add(instance.contract)
                continue
            if box is not None and box.contract is None:
                known[box.label] = replace(box, contract=instance.contract)
                ledger.update(db, box.label, contract=instance.contract)
                ledger.event(db, now, f"adopted: contract {instance.contract}", box.label)
                if box.state == "intended":
                    ledger.update(db, box.label, state="loading")
            elif box is None or box.contract != instance.contract:
                strays.append(instance.contract)
                continue
            if box is not None and instance.label not in seen:
                seen[instance.label] = instance
                self._follow(db, box, instance, now)
            else:
                strays.append(instance.contract)
        for label in known:
            if label in seen:
                self.missing.pop(label, None)
            else:
                since, times = self.missing.get(label, (now, 0))
                self.missing[label] = (since, times + 1)
        for memory in (self.missing, self.said):
            for label in [label for label in memory if label not in known]:
                del memory[label]
        self.listed = set(seen)
        self.now = seen
        self.at = now
        return strays

    def is_missing(self, label: str, now: float, *, lists: int = MISSING_LISTS, seconds: float = 0.0) -> bool:
        """Whether a box was in none of the last lists, `seconds` long."""
        since, times = self.missing.get(label, (now, 0))
        return times >= lists and now - since >= seconds

    def unchanged(self, label: str, now: float) -> float:
        """For how long the market has said the same of a box."""
        return now - self.said[label][1] if label in self.said else 0.0

    def _follow(self, db: sqlite3.Connection, box: Box, instance: Instance, now: float) -> None:
        words = f"{instance.state} {instance.said}"
        if self.said.get(box.label, ("", 0.0))[0] != words:
            self.said[box.label] = (words, now)
        if instance.state == "running" and box.running is None:
            # It began at some time since the last list: it may cost since then.
            ledger.update(db, box.label, running=max(box.intended, min(self.at, now)))
