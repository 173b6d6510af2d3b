"""The boxes of the simulated month as workers; the ledger gets what the gateway would write of them."""

from __future__ import annotations

import sqlite3
from random import Random
from typing import Any

from mediaflow.fleet import ledger
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.simulator.account import Account, Denied
from mediaflow.fleet.simulator.faults import SLOWNESS
from mediaflow.fleet.simulator.rented import Rented
from mediaflow.fleet.simulator.work import TASKS, Work

# Seconds from `running` to the first word, before models are fetched.
HELLO_SECONDS = 15.0


class Boxes:
    """Every box of the account that runs, at work; as fast as its machine, if nothing is wrong with it."""

    def __init__(
        self, account: Account, db: sqlite3.Connection, work: Work, settings: FleetSettings, seed: int
    ) -> None:
        self._account = account
        self._db = db
        self._work = work
        self._settings = settings
        self._random = Random(f"checks {seed}")
        self._ran: dict[int, float] = {}
        self._lies: dict[int, dict[tuple[int, str], float]] = {}

    def step(self, now: float, seconds: float) -> None:
        """Let all boxes do what they did in the `seconds` before `now`."""
        self._account.advance(now)
        known = {box.label: box for box in ledger.boxes(self._db)}
        for rented in list(self._account.boxes.values()):
            if rented.ended is None and rented.running:
                self._live(rented, known.get(rented.label), now, seconds)

    def _live(self, rented: Rented, box: ledger.Box | None, now: float, seconds: float) -> None:
        ran, self._ran[rented.contract] = self._ran.get(rented.contract, 0.0), rented.ran
        if rented.fate.silent is not None and rented.ran >= rented.fate.silent:
            return
        if rented.ran < HELLO_SECONDS:
            return
        if box is None or box.lease < now or box.state in ("ending", "ended"):
            self._end_itself(rented, now)
            return
        if box.contract not in (None, rented.contract):
            return  # the second box of an order carried out twice
        said: dict[str, Any] = {"seen": now} | ({} if box.hello else {"hello": now, "ready": now})
        if box.state in ("intended", "loading"):
            said["state"] = "working"
        ready = rented.machine.warming
        worked = min(seconds, rented.ran - max(ran, ready))
        if worked > 0 and box.state in ("intended", "loading", "working"):
            said |= self._serve(rented, box, now, worked)
        elif box.state == "draining":
            said["in_hand"] = 0  # what it had is answered
        ledger.update(self._db, box.label, **said)

    def _serve(self, rented: Rented, box: ledger.Box, now: float, seconds: float) -> dict[str, Any]:
        """Work for so long; what the gateway then says of the box."""
        speed = SLOWNESS if rented.fate.slow else 1.0
        cost = {task: 1 / (rented.machine.rates[task] * speed) for task in TASKS}
        done = self._work.serve(seconds, cost, [task for task in self._settings.tasks() if task in cost])
        items = sum(done.items.values())
        if not items:
            return {"in_hand": 0}
        gigabytes = done.gigabytes
        self._account.transfer(now, rented.contract, gigabytes)
        for task, used in done.seconds.items():
            weight = sum(units for (_, each), units in done.units.items() if each == task)
            ledger.measured_of_box(self._db, box, task, done.items[task], weight, used, now)
        if rented.fate.wrong:
            lies = self._lies.setdefault(rented.contract, {})
            for key, units in done.units.items():
                lies[key] = lies.get(key, 0.0) + units
            if self._random.random() < 1 - (1 - self._settings.check) ** items:
                self._work.give_back(self._lies.pop(rented.contract))
                return {"state": "ending", "reason": "what it found is not true"}
        return {
            "worked": now,
            "done": box.done + round(items),
            "in_hand": min(50, round(items)),
            "bytes": box.bytes + int(gigabytes * 1e9),
        }

    def _end_itself(self, rented: Rented, now: float) -> None:
        """A box that nobody wants any more, or that hears nothing, ends itself with its own key."""
        faults = self._account.faults
        if not faults.lasts("outage", now, self._account.prices.start):
            try:
                self._account.destroy(now, rented.contract)
            except Denied as error:
                if error.status != 404:
                    raise
