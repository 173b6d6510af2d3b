"""The controller as a process: it ticks until it is told to stop, and then ends all boxes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace

from mediaflow.catalog.database import connect as open_catalog
from mediaflow.errors import ConfigError, MediaflowError, StorageError, UsageError
from mediaflow.fleet import ledger
from mediaflow.fleet.account import Account
from mediaflow.fleet.backlog import Backlog, read_backlog
from mediaflow.fleet.birth import births
from mediaflow.fleet.controller import Controller
from mediaflow.fleet.end import End, destroy_known, look, spare_ledger
from mediaflow.fleet.labels import labels_here
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.market import Market
from mediaflow.fleet.measuring import measure_here
from mediaflow.fleet.ordering import Environment
from mediaflow.fleet.settings import FleetSettings
from mediaflow.lifeline import Stop
from mediaflow.ops.lock import Lock, holder
from mediaflow.service.handshake import runs_here

LOCK = "fleet"
# Between two ticks: while all goes its way, while a box begins or ends, and while all boxes are ended.
TICK_SECONDS, BUSY_SECONDS, ENDING_SECONDS = 10.0, 3.0, 1.2
LOOK_SECONDS = 0.5
MEASURE_SECONDS = 300.0
# So long ending all boxes may take when the controller is told to stop; by `fleet down`.
STOP_SECONDS, DOWN_SECONDS = 40.0, 180.0
# Then so long is waited for somebody who writes the ledger.
ENDING_BUSY_MS = 5000

Say = Callable[[str], None]


class Running:
    """A controller on the real market, and what it needs to be told. To be used with the lock in hand.

    Without an `environment` for boxes it must never order one: it drains, or ends all.
    """

    def __init__(self, fleet: FleetSettings, say: Say, environment: Environment | None = None) -> None:
        """Raises ConfigError without a key or the SDK, StorageError where the home cannot be read."""
        self.market: Market = Account(fleet)
        self._fleet, self._say = fleet, _never_failing(say)
        self._environment = environment
        self._labels = labels_here(fleet, new=environment is not None)
        try:
            self.db = ledger.open_ledger()
        except sqlite3.Error as error:
            if environment is not None:
                raise StorageError(f"The ledger of the fleet cannot be opened: {error}.") from None
            self._say(f"fleet: the ledger cannot be opened ({error}); going on without writing it")
            self.db = spare_ledger()
        self._controller = self._control()
        self._backlog = Backlog()
        self._said = ""
        self._measured = float("-inf")

    def run(self, stop: Stop) -> None:
        """Tick until told to stop; one that must not order, until no box is left."""
        ticked, hold = float("-inf"), None
        while not stop.is_told:
            now = time.monotonic()
            held = self._hold()
            if now - ticked >= self._pause() or held != hold:
                ticked, hold = now, held
                if self._environment is None:  # also when the hold was taken back meanwhile
                    self._controller.hold = "down" if held == "down" else "drain"
                self.tick(self._read_backlog())
                if self._environment is None and not self.open():
                    return
            stop.wait(LOOK_SECONDS)

    def end_all(self, seconds: float) -> End:
        """End all boxes, and wait till the market lists none of them; what is left after `seconds`."""
        deadline = time.monotonic() + seconds
        self._controller.hold = "down"
        try:
            self.db.execute(f"PRAGMA busy_timeout = {ENDING_BUSY_MS}")
            destroy_known(self.market, self.db)
        except sqlite3.Error as error:
            self._spare(error)
        while True:
            self.tick(Backlog(), ending=True)
            is_late = time.monotonic() > deadline
            # One that was ordered without an answer is waited for by the next controller.
            if is_late or not any(box.contract is not None for box in self.open()):
                end = look(self.market, self._labels, self.db)
                if is_late or end.is_final:
                    return end
            time.sleep(ENDING_SECONDS)

    def tick(self, backlog: Backlog, *, ending: bool = False) -> None:
        """One tick; what goes wrong is said, and passes or is tried again at the next."""
        try:
            self._controller.tick(time.time(), backlog)
            trouble = str(ledger.fact(self.db, "trouble") or "")
        except (MediaflowError, sqlite3.Error) as error:
            trouble = f"The ledger of the fleet cannot be kept: {error}"
            if ending and isinstance(error, sqlite3.Error):
                self._spare(error)
        if trouble != self._said:
            self._say(f"fleet: {trouble or 'the trouble is over'}")
            self._said = trouble

    def open(self) -> list[Box]:
        """The boxes that cost, or may cost, money."""
        return ledger.boxes(self.db)

    def _control(self) -> Controller:
        gateway = self._fleet.gateway
        return Controller(
            self.market,
            self.db,
            self._fleet,
            environment=self._environment or _no_box,
            labels=self._labels,
            serves=lambda: runs_here(gateway.listen, gateway.port),
        )

    def _spare(self, error: sqlite3.Error) -> None:
        """End boxes with a ledger in memory: that the disk is full must not keep one alive."""
        self._say(f"fleet: the ledger cannot be written ({error}); the boxes are ended all the same")
        self.db.close()
        self.db = spare_ledger()
        self._controller = self._control()
        self._controller.hold = "down"
        with suppress(sqlite3.Error):
            destroy_known(self.market, self.db)

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


def run(fleet: FleetSettings, say: Say, stop: Stop) -> End:
    """Be the controller until told to stop; what is left then.

    Raises UsageError where there is another one, ConfigError where something is missing.
    """
    say = _never_failing(say)
    with Lock(LOCK) as lock:
        _must_be_alone(lock)
        running = Running(fleet, say, births(fleet))
        say(f"fleet: the controller of {fleet.name!r} runs")
        try:
            running.run(stop)
        finally:
            end = running.end_all(STOP_SECONDS)
            for sentence in end.sentences() or ["no box is left"]:
                say(f"fleet: {sentence}")
        return end


def drain(fleet: FleetSettings, say: Say, stop: Stop) -> bool:
    """Have boxes finish what they have in hand and end, and rent none; whether a controller does it.

    Raises ConfigError where there is no controller, and no key to do its work.
    """
    with closing(ledger.open_ledger()) as db, Lock(LOCK) as lock:
        running = Running(fleet, say) if lock.taken and ledger.boxes(db) else None
        hold(db, "drain")
        if running is not None:
            running.run(stop)
        return not lock.taken


def down(fleet: FleetSettings, say: Say) -> End:
    """End all boxes now and rent none; what is left after a while.

    Raises ConfigError without a key, StorageError where a controller runs that cannot be told.
    """
    with Lock(LOCK) as lock:
        if not lock.taken:
            return _down_by(fleet, lock.holder)
        running = Running(fleet, say)
        try:
            hold(running.db, "down")
        except sqlite3.Error as error:
            say(f"fleet: that nothing is to be rented could not be written down ({error})")
        return running.end_all(DOWN_SECONDS)


def _down_by(fleet: FleetSettings, pid: int | None) -> End:
    """Have the controller that runs end all boxes, and see that it did."""
    deadline = time.monotonic() + DOWN_SECONDS
    try:
        db = ledger.open_ledger()
        hold(db, "down")
    except sqlite3.Error as error:
        raise StorageError(
            f"The controller (pid {pid}) cannot be told: the ledger cannot be written ({error}). Stop it "
            "(mediaflow down, or Ctrl-C where it runs): then it ends all boxes."
        ) from None
    with closing(db):
        while (left := ledger.boxes(db)) and time.monotonic() < deadline:
            if holder(LOCK) is None:
                raise UsageError("The controller ended meanwhile. Run mediaflow fleet down again.")
            time.sleep(LOOK_SECONDS)
        try:
            market, labels = Account(fleet), labels_here(fleet)
        except (ConfigError, StorageError) as error:
            return End(left, [], str(error))
        while True:
            end = look(market, labels, db)
            if end.is_clear or end.refused or time.monotonic() > deadline:
                return end
            time.sleep(ENDING_SECONDS)


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


def _never_failing(say: Say) -> Say:
    """The log may be on the disk that is full: what is done must not end with it."""

    def said(sentence: str) -> None:
        with suppress(OSError):
            say(sentence)

    return said


def _no_box(_label: str, _token: str) -> dict[str, str]:
    raise AssertionError("a controller that only ends boxes orders none")
