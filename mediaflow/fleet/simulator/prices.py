"""Prices and offers over time: a pure function of a seed and the time, so that they are known afterwards.

A machine's price is piecewise constant: a mean-reverting random walk of its logarithm, a step an hour,
times a day's cycle. Machines are rented by others and become free again, each time with another offer's id.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from mediaflow.fleet.simulator.machines import Machine, machines

HOUR = 3600.0
REVERSION = 0.04  # of the distance to the usual price, an hour
STEP = 0.02  # standard deviation of a step of the logarithm: a tenth in a day
DAY_CYCLE = 0.04  # dearer in the evening of Europe by this part, cheaper in its morning
FREE_HOURS = 14.0
RENTED_HOURS = 9.0
LONGEST_RENT = 90 * 24 * HOUR
OFFER_BASE = 1_000_000


@dataclass(frozen=True, slots=True)
class Ask:
    """An offer as the market lists it: `gpu` and `bid` are dollars an hour without the disk."""

    id: int
    machine: Machine
    gpu: float
    bid: float
    until: float

    def storage(self, disk_gb: float) -> float:
        """Dollars an hour for a disk."""
        return self.machine.storage_month * disk_gb / 730


class _Course:
    """What happens to one machine, from the market's start on; made as far as it was looked at."""

    def __init__(self, seed: int, machine: Machine) -> None:
        self._walk = Random(f"price {seed} {machine.id}")
        self._others = Random(f"others {seed} {machine.id}")
        self._logarithms = [self._walk.gauss(0, STEP / math.sqrt(2 * REVERSION))]
        self._cheap = Random(f"bid {seed} {machine.id}").uniform(0.45, 0.75)
        # Starts of the times in which it is free (even places) and rented by others (odd).
        self._changes = [0.0]
        if self._others.random() < RENTED_HOURS / (FREE_HOURS + RENTED_HOURS):
            self._changes = [-1.0, -0.5]
            self._changes.append(self._others.expovariate(1 / (RENTED_HOURS * HOUR)))

    def price(self, step: int) -> float:
        """The price beside the usual one in an hour of the market."""
        while len(self._logarithms) <= step:
            last = self._logarithms[-1]
            self._logarithms.append(last * (1 - REVERSION) + self._walk.gauss(0, STEP))
        return math.exp(self._logarithms[step])

    def bid(self, step: int) -> float:
        """The lowest bid as a part of the price; it moves more than the price does."""
        return min(0.95, self._cheap * self.price(step) ** 2)

    def period(self, elapsed: float) -> tuple[int, float]:
        """The number of the period (even: free) at a time since the market's start, and its end."""
        while self._changes[-1] <= elapsed:
            free = len(self._changes) % 2 == 1
            hours = FREE_HOURS if free else RENTED_HOURS
            self._changes.append(self._changes[-1] + max(600, self._others.expovariate(1 / (hours * HOUR))))
        place = bisect_right(self._changes, elapsed)
        return place - 1, self._changes[place]


class Prices:
    """The market with this seed, from `start` (Unix seconds) on."""

    def __init__(self, seed: int, start: float) -> None:
        self.seed = seed
        self.start = start
        self.machines = machines(seed)
        self._courses = {machine.id: _Course(seed, machine) for machine in self.machines}

    def ask(self, machine: Machine, now: float) -> Ask | None:
        """What a machine is offered for; None while others have it."""
        course = self._courses[machine.id]
        elapsed = max(0.0, now - self.start)
        period, end = course.period(elapsed)
        if period % 2:
            return None
        gpu, bid = self.price(machine, now)
        number = OFFER_BASE + machine.id * 1000 + period
        return Ask(number, machine, gpu, bid, self.start + end + LONGEST_RENT)

    def price(self, machine: Machine, now: float) -> tuple[float, float]:
        """A machine's price and lowest bid, whoever has it."""
        step = int(max(0.0, now - self.start) // HOUR)
        course = self._courses[machine.id]
        evening = math.cos(2 * math.pi * ((self.start + step * HOUR) % (24 * HOUR) / HOUR - 19) / 24)
        usual = machine.model.price * machine.level * (1 + DAY_CYCLE * evening)
        price = usual * course.price(step)
        return round(price, 4), round(price * course.bid(step), 4)

    def is_free(self, machine: Machine, begin: float, end: float) -> bool:
        """Whether a machine is offered at any time of a stretch."""
        elapsed = max(0.0, begin - self.start)
        period, until = self._courses[machine.id].period(elapsed)
        return period % 2 == 0 or until < end - self.start

    def asks(self, now: float) -> Iterator[Ask]:
        """All offers at a time, in the order of the machines."""
        for machine in self.machines:
            ask = self.ask(machine, now)
            if ask is not None:
                yield ask
