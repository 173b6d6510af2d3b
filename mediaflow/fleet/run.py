"""The controller as a process: it ticks until it is told to stop, and then ends all boxes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from threading import Event

from mediaflow.catalog.database import connect as open_catalog
from mediaflow.errors import MediaflowError, UsageError
from mediaflow.fleet import ledger
from mediaflow.fleet.backlog import Backlog, read_backlog
from mediaflow.fleet.birth import births
from mediaflow.fleet.controller import Controller
from mediaflow.fleet.key import api_key
from mediaflow.fleet.labels import labels_here
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.market import Market, MarketError
from mediaflow.fleet.measuring import measure_here
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.vast import Vast
from mediaflow.ops.lock import Lock, holder
from mediaflow.service.handshake import runs_here

LOCK = "fleet"
# Between two ticks: while all goes its way, while a box begins or ends, and while all boxes are ended.
TICK_SECONDS, BUSY_SECONDS, ENDING_SECONDS = 10.0, 3.0, 1.2
LOOK_SECONDS = 0.5
MEASURE_SECONDS = 300.0
# So long ending all boxes may take when the controller is told to stop; by `fleet down`.
STOP_SECONDS, DOWN_SECONDS = 40.0, 180.0

Say = Callable[[str], None]


class Running:
    """A controller on the real market, and what it needs to be told. To be used with the lock in hand."""

    def __init__(self, fleet: FleetSettings, say: Say) -> None:
        """Raises ConfigError without a key, the SDK, or an address that boxes can reach."""
        self.market: Market = Vast(fleet, api_key())
        self.db = ledger.open_ledger()
        self._fleet, self._say = fleet, say
        self._labels = labels_here(fleet, new=True)
        gateway = fleet.gateway
        self._controller = Controller(
            self.market,
            self.db,
            fleet,
            environment=births(fleet),
            labels=self._labels,
            serves=lambda: runs_here(gateway.listen, gateway.port),
        )
        self._backlog = Backlog()
        self._said = ""
        self._measured = float("-inf")

    def run(self, stop: Event, *, until_empty: bool = False) -> None:
        """Tick until told to stop, or with `until_empty` until no box is left."""
        ticked, hold = float("-inf"), None
        while not stop.is_set():
            now = time.monotonic()
            held = self._hold()
            if now - ticked >= self._pause() or held != hold:
                ticked, hold = now, held
                self.tick(self._read_backlog())
                if until_empty and not self.open():
                    return
            stop.wait(LOOK_SECONDS)

    def end_all(self, seconds: float) -> list[Box]:
        """End all boxes, and wait till the market lists none of them; those that are left after `seconds`."""
        deadline = time.monotonic() + seconds
        self._controller.hold = "down"
        while True:
            self.tick(Backlog())
            # One that was ordered without an answer is waited for by the next controller.
            ended = not any(box.contract is not None for box in self.open())
            if (ended and self._is_unlisted()) or time.monotonic() > deadline:
                return self.open()
            time.sleep(ENDING_SECONDS)

    def tick(self, backlog: Backlog) -> None:
        """One tick; what goes wrong is said, and passes or is tried again at the next."""
        try:
            self._controller.tick(time.time(), backlog)
            trouble = str(ledger.fact(self.db, "trouble") or "")
        except (MediaflowError, sqlite3.Error) as error:
            trouble = f"The ledger of the fleet cannot be kept: {error}"
        if trouble != self._said:
            self._say(f"fleet: {trouble or 'the trouble is over'}")
            self._said = trouble

    def open(self) -> list[Box]:
        """The boxes that cost, or may cost, money."""
        return ledger.boxes(self.db)

    def _is_unlisted(self) -> bool:
        """Whether the market lists no box of ours, as far as can be known."""
        try:
            return not any(self._labels.is_own(each.label, self.db) for each in self.market.instances())
        except MarketError:
            return False

    def _pause(self) -> float:
        try:
            busy = any(box.state != "working" for box in self.open())
        except sqlite3.Error:
            busy = False
        return BUSY_SECONDS if busy else TICK_SECONDS

    def _hold(self) -> str | None:
        try:
            return held(self.db)
        except sqlite3.Error:
            return None

    def _read_backlog(self) -> Backlog:
        """What waits; what waited last where the catalog cannot be read now."""
        try:
            with closing(open_catalog()) as catalog:
                self._backlog = read_backlog(catalog, self._fleet)
                if time.monotonic() - self._measured > MEASURE_SECONDS:
                    self._measured = time.monotonic()
                    measure_here(catalog, self.db, time.time())
        except (MediaflowError, sqlite3.Error) as error:
            self._say(f"fleet: the catalog cannot be read ({error}); going on with what was known")
            self._backlog = replace(self._backlog, current=False)
        return self._backlog


def run(fleet: FleetSettings, say: Say, stop: Event) -> list[Box]:
    """Be the controller until told to stop; the boxes that could not be ended then.

    Raises UsageError where there is another one, ConfigError where something is missing.
    """
    with Lock(LOCK) as lock:
        _must_be_alone(lock)
        running = Running(fleet, say)
        say(f"fleet: the controller of {fleet.name!r} runs")
        try:
            running.run(stop)
        finally:
            left = running.end_all(STOP_SECONDS)
        _say_left(left, say)
        return left


def drain(fleet: FleetSettings, say: Say, stop: Event) -> bool:
    """Have boxes finish what they have in hand and end, and rent none; whether a controller does it."""
    with closing(ledger.open_ledger()) as db:
        hold(db, "drain")
        if not ledger.boxes(db):
            return True
    with Lock(LOCK) as lock:
        if not lock.taken:
            return True
        Running(fleet, say).run(stop, until_empty=True)
        return False


def down(fleet: FleetSettings, say: Say) -> list[Box]:
    """End all boxes now and rent none; those that are left after a while."""
    with closing(ledger.open_ledger()) as db, Lock(LOCK) as lock:
        hold(db, "down")
        if lock.taken:
            return Running(fleet, say).end_all(DOWN_SECONDS)
        deadline = time.monotonic() + DOWN_SECONDS
        while (left := ledger.boxes(db)) and time.monotonic() < deadline:
            if holder(LOCK) is None:
                raise UsageError("The controller ended meanwhile. Run mediaflow fleet down again.")
            time.sleep(LOOK_SECONDS)
        return left


def hold(db: sqlite3.Connection, what: str | None) -> None:
    """Rent nothing more: `drain` lets boxes finish, `down` ends them; None: rent again."""
    ledger.put_fact(db, "hold", what, time.time())
    ledger.event(db, time.time(), f"asked for: mediaflow fleet {what or 'resume'}")


def held(db: sqlite3.Connection) -> str | None:
    """`drain` or `down`, where that was asked for and not taken back."""
    found = ledger.fact(db, "hold")
    return str(found) if found else None


def _must_be_alone(lock: Lock) -> None:
    if not lock.taken:
        raise UsageError(
            f"A controller of the fleet runs already (pid {lock.holder}); two would rent everything twice. "
            "`mediaflow fleet status` says what it does."
        )


def _say_left(left: list[Box], say: Say) -> None:
    for box in left:
        what = "could not be ended" if box.contract is not None else "may have been ordered"
        say(f"fleet: box {box.label} {what}; it ends itself when its lease is over (mediaflow fleet doctor)")
    if not left:
        say("fleet: no box is left")
