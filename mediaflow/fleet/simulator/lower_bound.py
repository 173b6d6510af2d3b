"""The least that any policy must have paid for a month whose arrivals and prices are known: docs/fleet.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.simulator.machines import Machine
from mediaflow.fleet.simulator.prices import HOUR, Ask, Prices
from mediaflow.fleet.simulator.trade import fits
from mediaflow.fleet.simulator.work import HOME_SECONDS, TASKS, UNIT_GB, Run


@dataclass(frozen=True, slots=True)
class Need:
    """Work that must be done between two times: units by stage."""

    begin: float
    end: float
    units: dict[str, float]


@dataclass(frozen=True, slots=True)
class Cheapest:
    """The lowest prices of an hour of the market: of a unit by task, of a start, and of an idle second."""

    unit: dict[str, float]
    start: float
    second: float


def lower_bound(runs: Sequence[Run], prices: Prices, settings: FleetSettings) -> float:
    """Dollars. A run counts till its deadline, or till its end where it was late; unfinished ones do not."""
    needs = _needs([run for run in runs if run.finished is not None])
    if not needs:
        return 0.0
    market = _Market(prices, settings, max(need.end for need in needs))
    priced = [(need, market.work(need), market.start(need)) for need in needs]
    priced = [each for each in priced if each[1] > 0]
    priced.sort(key=lambda each: each[0].end)
    best: list[float] = []
    for number, (need, work, start) in enumerate(priced):
        bound = start
        for before in range(number):
            if priced[before][0].end <= need.begin:
                stay = market.idle(priced[before][0].end, need.begin)
                bound = max(bound, best[before] + min(start, stay))
        best.append(bound + work)
    return max(best, default=0.0)


def _needs(runs: Sequence[Run]) -> list[Need]:
    """For each pair of an arrival and an end, the work of all runs that lie between."""
    spans = [(run.arrival.at, max(run.deadline, run.finished or 0.0), run) for run in runs]
    needs = []
    for begin in sorted({span[0] for span in spans}):
        units = dict.fromkeys(HOME_SECONDS, 0.0)
        for _, end, run in sorted((span for span in spans if span[0] >= begin), key=lambda span: span[1]):
            for stage in HOME_SECONDS:
                units[stage] += run.arrival.units(stage)
            needs.append(Need(begin, end, dict(units)))
    return needs


class _Market:
    """The cheapest that an hour of the market had to offer, and what that makes of a need."""

    def __init__(self, prices: Prices, settings: FleetSettings, end: float) -> None:
        self._prices = prices
        self._settings = settings
        self._start = prices.start
        hours = int((end - prices.start) // HOUR) + 1
        self._hours = [self._cheapest(hour) for hour in range(hours)]
        eligible = [machine for machine in prices.machines if fits(Ask(0, machine, 0, 0, 0), settings)]
        # Seconds of this machine that a second of the best box saves.
        gains = [machine.rates[task] * HOME_SECONDS[task] for machine in eligible for task in TASKS]
        self._gain = max(gains, default=1.0)

    def work(self, need: Need) -> float:
        """The least that boxes cost while they do what this machine cannot do in the time."""
        left = self._left(need)
        if left <= 0:
            return 0.0
        cost = self._lowest(need)
        dollars = 0.0
        # First what is cheapest for the time that it saves here.
        for task in sorted(TASKS, key=lambda task: cost.unit[task] / HOME_SECONDS[task]):
            seconds = min(left, need.units[task] * HOME_SECONDS[task])
            dollars += seconds / HOME_SECONDS[task] * cost.unit[task]
            left -= seconds
        return dollars

    def start(self, need: Need) -> float:
        """The least that so many boxes cost before they work as are needed at the same time."""
        boxes = -(-self._left(need) // (self._gain * (need.end - need.begin)))
        return max(1.0, boxes) * self._lowest(need).start

    def idle(self, begin: float, end: float) -> float:
        """The least that a box costs which is kept from one time to another."""
        if end - begin > self._settings.caps.hours * HOUR:
            return float("inf")
        return (end - begin) * min(each.second for each in self._window(begin, begin))

    def _left(self, need: Need) -> float:
        """Seconds of this machine that it does not have for the work."""
        return sum(need.units[stage] * cost for stage, cost in HOME_SECONDS.items()) - (need.end - need.begin)

    def _lowest(self, need: Need) -> Cheapest:
        hours = self._window(need.begin, need.end)
        return Cheapest(
            {task: min(each.unit[task] for each in hours) for task in TASKS},
            min(each.start for each in hours),
            min(each.second for each in hours),
        )

    def _window(self, begin: float, end: float) -> list[Cheapest]:
        """The hours in which a box that works between two times may have been ordered."""
        first = int((begin - self._settings.caps.hours * HOUR - self._start) // HOUR) - 1
        last = int((end - self._start) // HOUR)
        return self._hours[max(0, first) : last + 1]

    def _cheapest(self, hour: int) -> Cheapest:
        unit = dict.fromkeys(TASKS, float("inf"))
        start = second = float("inf")
        moment = self._start + hour * HOUR
        for machine in self._prices.machines:
            gpu, bid = self._prices.price(machine, moment)
            ask = Ask(0, machine, gpu, bid, 0)
            storage = ask.storage(self._settings.disk_gb)
            price = (bid if self._settings.rent == "interruptible" else gpu) + storage
            allowed = fits(ask, self._settings) and price <= self._settings.caps.price_per_hour
            if not allowed or not self._prices.is_free(machine, moment, moment + HOUR):
                continue
            start = min(start, price / HOUR * machine.warming)
            second = min(second, price / HOUR)
            for task in TASKS:
                unit[task] = min(unit[task], _unit(machine, task, price))
        return Cheapest(unit, start, second)


def _unit(machine: Machine, task: str, price: float) -> float:
    """Dollars for a unit of a task: the box's time and what is sent to it."""
    return price / HOUR / machine.rates[task] + UNIT_GB[task] * machine.traffic_in
