"""The controller as a process: ticks in real time, only one on this home, an end that leaves nothing."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from mediaflow.catalog.database import catalog_path
from mediaflow.catalog.database import connect as open_catalog
from mediaflow.errors import CatalogError, UsageError
from mediaflow.fleet import ledger
from mediaflow.fleet.backlog import Backlog, read_backlog
from mediaflow.fleet.birth import environment
from mediaflow.fleet.controller import Controller
from mediaflow.fleet.key import read_key
from mediaflow.fleet.market import Market
from mediaflow.fleet.measuring import measure_here
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.vast import Vast
from mediaflow.ops.lock import Lock

LOCK = "fleet"
TICK_SECONDS = 10.0
# While boxes come or go.
BUSY_TICK_SECONDS = 4.0
LAST_TICK_SECONDS = 2.0
MEASURE_SECONDS = 300.0
# When told to stop, boxes get so long to answer what they have in hand, and then so long to be ended.
FINISH_SECONDS = 20.0
END_SECONDS = 300.0


def the_market(settings: FleetSettings) -> Market:
    """The account at Vast.ai. Raises KeyMissing without a key."""
    return Vast(read_key(), settings)


@contextmanager
def only_one() -> Iterator[None]:
    """Be the only controller of this home. Raises UsageError where another one runs."""
    with Lock(LOCK) as lock:
        if not lock.taken:
            raise UsageError(
                f"A controller of the fleet runs already (pid {lock.holder}): there is one at most."
                " `mediaflow fleet status` shows what it does."
            )
        yield


@dataclass(slots=True)
class Loop:
    """Ticks until it is told to stop; `say` tells a person what changes."""

    settings: FleetSettings
    say: Callable[[str], None]
    stop: bool = field(default=False)
    _said: str = field(default="", init=False)
    _measured: float = field(default=float("-inf"), init=False)
    _backlog: Backlog = field(default_factory=Backlog, init=False)

    def run(self) -> None:
        """Rent and end boxes; when told to stop, end them all. Raises UsageError, KeyMissing."""
        with only_one(), closing(ledger.open_ledger()) as db:
            controller = Controller(
                the_market(self.settings), db, self.settings, environment=environment(self.settings)
            )
            ledger.put_fact(db, "pid", os.getpid(), time.time())
            self.say("fleet: the controller is up")
            while not self.stop:
                self._once(controller, db)
                self._pause(db)
            self.say("fleet: boxes finish what they have in hand, and end")
            left = wind_down(controller, db, FINISH_SECONDS)
            self.say(
                f"fleet: {left} boxes could not be ended; they end themselves" if left else "fleet: down"
            )

    def _once(self, controller: Controller, db: sqlite3.Connection) -> None:
        now = time.time()
        try:
            self._read(db, now)
        except (CatalogError, sqlite3.Error) as error:  # busy or not readable just now: the last one is good
            self.say(f"fleet: what waits cannot be read: {error}")
        desire = controller.tick(now, self._backlog)
        if desire.why != self._said:
            self._said = desire.why
            self.say(f"fleet: {desire.why}")

    def _read(self, db: sqlite3.Connection, now: float) -> None:
        if not catalog_path().exists():
            return
        with closing(open_catalog()) as catalog:
            self._backlog = read_backlog(catalog, self.settings)
            if now - self._measured > MEASURE_SECONDS:
                self._measured = now
                measure_here(catalog, db, now)

    def _pause(self, db: sqlite3.Connection) -> None:
        """Wait for the next tick; not so long while boxes come or go, or somebody asks for something."""
        hold = ledger.fact(db, "hold")
        busy = any(box.state != "working" for box in ledger.boxes(db))
        deadline = time.monotonic() + (BUSY_TICK_SECONDS if busy else TICK_SECONDS)
        while time.monotonic() < deadline and not self.stop:
            time.sleep(0.2)
            if ledger.fact(db, "hold") != hold:
                return


def wind_down(controller: Controller, db: sqlite3.Connection, finish_seconds: float) -> int:
    """End all boxes, those at work after `finish_seconds` at most; how many could not be ended."""
    begun = time.monotonic()
    while (spent := time.monotonic() - begun) < finish_seconds + END_SECONDS:
        controller.hold = "drain" if spent < finish_seconds else "down"
        controller.tick(time.time(), Backlog())
        if not ledger.boxes(db):
            return 0
        time.sleep(LAST_TICK_SECONDS)
    return len(ledger.boxes(db))
