"""The journal: what the controller says of itself in the ledger, for people."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from mediaflow.fleet import ledger

# The same trouble is an event again after so long; the beat says that the controller ticks.
REPEAT_SECONDS = 3600.0
BEAT_SECONDS = 30.0


class Journal:
    """Keeps facts and troubles in the ledger, and writes only what has changed."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.trouble = ""
        self._events: dict[str, float] = {}
        self._told: dict[str, object] = {}
        self._beat = float("-inf")

    def in_trouble(self, now: float, what: str) -> None:
        """Something does not go its way; it is an event when it is new."""
        self.trouble = what
        self._events = {said: at for said, at in self._events.items() if now - at <= REPEAT_SECONDS}
        if what not in self._events:
            ledger.event(self._db, now, what)
            self._events[what] = now

    def tell(self, now: float, facts: Mapping[str, Any]) -> None:
        """Bring facts, the trouble and the beat up to date. One that could not be written is told again."""
        for name, value in {**facts, "trouble": self.trouble}.items():
            if self._told.get(name, self) != value:
                ledger.put_fact(self._db, name, value, now)
                self._told[name] = value
        if now - self._beat >= BEAT_SECONDS:
            ledger.put_fact(self._db, "beat", now, now)
            self._beat = now
