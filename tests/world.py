"""A world for the controller: the simulated market, boxes and work, moved on by a test as it likes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mediaflow.fleet import ledger
from mediaflow.fleet.backlog import Backlog, Waiting
from mediaflow.fleet.controller import Controller
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.policies import Desire
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.simulator.account import Account
from mediaflow.fleet.simulator.arrivals import MONTH_START, Arrival
from mediaflow.fleet.simulator.boxes import Boxes
from mediaflow.fleet.simulator.faults import Faults
from mediaflow.fleet.simulator.prices import Prices
from mediaflow.fleet.simulator.rented import Rented
from mediaflow.fleet.simulator.trade import Trade
from mediaflow.fleet.simulator.work import HOME_SECONDS, TASKS, Work
from mediaflow.fleet.speeds import HERE

STEP = 20.0
# Photos that this machine does not manage in the eight hours that the settings wish for.
MANY = 40_000


def settings(**changes: Any) -> FleetSettings:
    """The settings as they come, but enabled."""
    return FleetSettings.model_validate({"enabled": True, "libraries": {"default": TASKS}} | changes)


class World:
    """The market with these faults, an account, and a controller that can be killed and started again."""

    def __init__(self, *, seed: int = 1, credit: float = 100.0, **faults: int) -> None:
        self.settings = settings()
        self.now = MONTH_START
        self.db = ledger.open_ledger(":memory:")
        self.account = Account(Prices(seed, self.now), Faults(seed, forced=faults), credit=credit)
        self.trade = Trade(self.account, self.settings)
        self.work = Work(self.settings.deadline_hours)
        self.desire = Desire("")
        # Whether this machine's gateway runs, and whether boxes and market reach this machine.
        self.serves = True
        self.connected = True
        self.begin()

    def begin(self, **changes: Any) -> None:
        """Start the controller anew, with these settings: all that it remembered is lost."""
        if changes:
            self.settings = settings(**changes)
            self.trade = Trade(self.account, self.settings)
        self.boxes = Boxes(self.account, self.db, self.work, self.settings, 1)
        self.controller = Controller(self.trade, self.db, self.settings, serves=lambda: self.serves)

    def submit(self, photos: int = MANY) -> None:
        """Somebody submits so many photos."""
        self.work.submit(Arrival(self.now, "photos", {"photo": photos}))

    def step(self, *, ticks: bool = True) -> None:
        """One tick, and what happens until the next one; without `ticks` the controller is not there."""
        self.trade.now = self.now
        if ticks:
            self.desire = self.controller.tick(self.now, self.backlog())
        self.now += STEP
        done = self.work.serve(STEP, HOME_SECONDS, HOME_SECONDS)
        for stage, used in done.seconds.items():
            ledger.measured(self.db, HERE, stage, done.items[stage], used, self.now)
        if self.serves and self.connected:
            self.boxes.step(self.now, STEP)
        else:
            self.account.advance(self.now)
        self.work.settle(self.now)

    def until(self, condition: Callable[[], Any], hours: float = 12, *, ticks: bool = True) -> Any:
        """Go on until a condition holds; its value."""
        end = self.now + hours * 3600
        while self.now < end:
            if value := condition():
                return value
            self.step(ticks=ticks)
        raise AssertionError(f"not within {hours:g} hours: {self.events()[-8:]}")

    def go_on(self, minutes: float, *, ticks: bool = True) -> None:
        """Let time pass."""
        end = self.now + minutes * 60
        while self.now < end:
            self.step(ticks=ticks)

    def backlog(self) -> Backlog:
        """What waits."""
        waiting, files = [], {}
        for run in self.work.open:
            for task in TASKS:
                ready, left = math.ceil(run.ready[task]), math.ceil(run.left[task])
                if left:
                    waiting.append(Waiting(task, ready, run.deadline, run.arrival.at, max(0, left - ready)))
            files[run.deadline] = math.ceil(run.unprepared)
        return Backlog(tuple(waiting), files)

    def known(self, *states: str) -> list[Box]:
        """The boxes of the ledger in these states (all that are not ended)."""
        return [box for box in ledger.boxes(self.db) if not states or box.state in states]

    def all_boxes(self) -> list[Box]:
        """Also those that have ended."""
        return ledger.boxes(self.db, ended_since=0)

    def real(self) -> list[Rented]:
        """The boxes that truly are there, and cost."""
        return [box for box in self.account.boxes.values() if box.ended is None]

    def events(self) -> list[str]:
        """What was written down."""
        return [row[0] for row in self.db.execute("SELECT what FROM events ORDER BY id")]

    def is_over(self) -> bool:
        """Whether all is done, and nothing is rented in truth or in the ledger."""
        return not self.work.open and not self.real() and not self.known()
