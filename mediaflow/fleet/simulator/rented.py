"""A rented box as the market sees it: its states from order to end, and what it costs by the second."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mediaflow.fleet.simulator.machines import Machine

DAY = 86400.0
HOUR = 3600.0
Status = Literal["created", "loading", "running", "exited", "offline"]
Kind = Literal["gpu", "disk", "bwd", "bwu"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What will happen to a box: seconds of running after which it exits, goes offline or is outbid."""

    stuck: bool = False
    exits: float | None = None
    offline: float | None = None
    outbid: float | None = None
    slow: bool = False
    silent: float | None = None
    wrong: bool = False
    skew: bool = False


@dataclass(slots=True)
class Rented:
    """One contract. Prices are dollars an hour; `gpu` is the bid where it is interruptible."""

    contract: int
    machine: Machine
    label: str
    image: str
    disk_gb: float
    environment: Mapping[str, str]
    gpu: float
    storage: float
    interruptible: bool
    ordered: float
    runs_at: float  # when it has loaded, if nothing goes wrong
    fate: Fate
    status: Status | None = None
    intended: Literal["running", "stopped"] = "running"
    running_since: float | None = None
    ran: float = 0.0
    settled: float = 0.0
    ended: float | None = None
    bandwidth_gb: float = 0.0
    dollars: dict[tuple[float, Kind], float] = field(default_factory=dict)
    key: str = field(default_factory=lambda: secrets.token_hex(32))

    @property
    def running(self) -> bool:
        """Whether the GPU is paid for."""
        return self.ended is None and self.status == "running" and self.intended == "running"

    @property
    def paid(self) -> float:
        """All it has cost until now."""
        return sum(self.dollars.values())

    @property
    def price(self) -> float:
        """An hour of it while it runs."""
        return self.gpu + self.storage

    def next_change(self) -> float:
        """When its state changes by itself."""
        if self.status is None:
            return self.ordered + 2
        if self.intended == "stopped":
            return float("inf")
        if self.status == "created":
            return max(self.settled, min(self.ordered + 5, self.runs_at))
        if self.status == "loading":
            return float("inf") if self.fate.stuck else max(self.settled, self.runs_at)
        if self.status == "running":
            left = [
                at - self.ran
                for at in (self.fate.exits, self.fate.offline, self.fate.outbid)
                if at is not None
            ]
            return self.settled + max(0.0, min(left)) if left else float("inf")
        return float("inf")

    def change(self) -> None:
        """Go on to the next state, at `settled`."""
        if self.status is None:
            self.status = "created"
        elif self.status == "created":
            self.status = "loading"
        elif self.status == "loading":
            self.status, self.running_since = "running", self.settled
        elif _reached(self.fate.exits, self.ran):
            self.status = "exited"
        elif _reached(self.fate.offline, self.ran):
            self.status = "offline"
        elif _reached(self.fate.outbid, self.ran):
            self.stop()

    def stop(self) -> None:
        """It is stopped: its disk costs still."""
        self.intended = "stopped"
        self.running_since = None
        if self.status in ("loading", "running", "created"):
            self.status = "exited"

    def start(self, now: float, loading: float) -> None:
        """It runs again, after a while."""
        self.intended, self.status, self.runs_at = "running", "loading", now + loading
        self.settled = now

    def settle(self, until: float) -> float:
        """Pay till a time in which the state stays the same; what it costs."""
        before = self.paid
        while self.settled < until:
            day = self.settled // DAY * DAY
            to = min(until, day + DAY)
            self.pay(day, "disk", self.storage * (to - self.settled) / HOUR)
            if self.running:
                self.pay(day, "gpu", self.gpu * (to - self.settled) / HOUR)
                self.ran += to - self.settled
            self.settled = to
        return self.paid - before

    def pay(self, day: float, kind: Kind, dollars: float) -> None:
        """Add to a day's charges."""
        self.dollars[day, kind] = self.dollars.get((day, kind), 0.0) + dollars


def _reached(after: float | None, ran: float) -> bool:
    return after is not None and ran >= after - 1e-6
