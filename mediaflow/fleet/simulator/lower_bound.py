"""The least that any policy must have paid for a month whose arrivals and prices are known: docs/fleet.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.simulator.account import FASTEST_LOAD, SLOWEST_LOAD
from mediaflow.fleet.simulator.machines import Machine
from mediaflow.fleet.simulator.prices import HOUR, Ask, Prices
from mediaflow.fleet.simulator.trade import fits
from mediaflow.fleet.simulator.work import HOME_SECONDS, TASKS, UNIT_GB, Run
from mediaflow.fleet.spending import START_GB


@dataclass(frozen=True, slots=True)
class Need:
    """Work due between two times: units by stage; `lacking` are the seconds this machine has not."""

    begin: float
    end: float
    units: dict[str, float]
    lacking: float


@dataclass(frozen=True, slots=True)
class Least:
    """Of a need the least it costs if all its boxes were started for it, and if one was there already."""

    fresh: float
    carried: float


def lower_bound(runs: Sequence[Run], prices: Prices, settings: FleetSettings) -> float:
    """Dollars. A run counts till its deadline, or till its end where it was late; unfinished ones do not."""
    needs = _needs([run for run in runs if run.finished is not None])
    if not needs:
        return 0.0
    market = _Market(prices, settings, max(need.end for need in needs))
    needs.sort(key=lambda need: need.end)
    least = [market.least(need) for need in needs]
    best: list[float] = []
    for number, need in enumerate(needs):
        bound = least[number].fresh
        for before in range(number):
            if needs[before].end <= need.begin:
                kept = market.idle(needs[before].end, need.begin) + least[number].carried
                bound = max(bound, best[before] + min(least[number].fresh, kept))
        best.append(bound)
    return max(best)


def _needs(runs: Sequence[Run]) -> list[Need]:
    """For each pair of an arrival and an end, the work of all runs that lie between, if it is too much."""
    spans = [(run.arrival.at, max(run.deadline, run.finished or 0.0), run) for run in runs]
    needs = []
    for begin in sorted({span[0] for span in spans}):
        units = dict.fromkeys(HOME_SECONDS, 0.0)
        for _, end, run in sorted((span for span in spans if span[0] >= begin), key=lambda span: span[1]):
            for stage in HOME_SECONDS:
                units[stage] += run.arrival.units(stage)
            lacking = sum(units[stage] * cost for stage, cost in HOME_SECONDS.items()) - (end - begin)
            if lacking > 0:
                needs.append(Need(begin, end, dict(units), lacking))
    return needs


class _Market:
    """The machines that may be rented, and what each of them costs by the hour it is ordered in."""

    def __init__(self, prices: Prices, settings: FleetSettings, end: float) -> None:
        self._start = prices.start
        self._longest = settings.caps.hours * HOUR
        hours = int((end - prices.start) // HOUR) + 1
        self._machines = [each for each in prices.machines if fits(Ask(0, each, 0, 0, 0), settings)]
        self._prices = [
            [_price(prices, machine, hour, settings) for hour in range(hours)] for machine in self._machines
        ]
        self._rows = list(zip(self._prices, self._machines, strict=True))
        self._storage = [Ask(0, each, 0, 0, 0).storage(settings.disk_gb) for each in self._machines]

    def least(self, need: Need) -> Least:
        """What the lacking seconds cost at least: with one box, with several, or with one that is there."""
        window = self._window(need)
        one = min(self._one_box(need, number, window) for number in range(len(self._machines)))
        # Of several boxes the first is ordered in some hour, and paid for till the work begins; from then on
        # each task has the cheapest hour of the cheapest machine.
        several = float("inf")
        units = [float("inf")] * len(TASKS)
        start = float("inf")
        for hour in reversed(window):
            for number, machine in enumerate(self._machines):
                price = self._prices[number][hour] / HOUR
                start = min(start, price * machine.warming + START_GB * machine.traffic_in)
                for place, task in enumerate(TASKS):
                    units[place] = min(
                        units[place], price / machine.rates[task] + UNIT_GB[task] * machine.traffic_in
                    )
            offered = [(row[hour] / HOUR, each) for row, each in self._rows if row[hour] < float("inf")]
            waits = min(
                (price * self._waits(need, each, hour) for price, each in offered), default=float("inf")
            )
            several = min(several, waits + 2 * start + _fill(need, units))
        return Least(min(one, several), _fill(need, units))

    def idle(self, begin: float, end: float) -> float:
        """The least that a box costs which is kept from one time to another."""
        if end - begin > self._longest:
            return float("inf")
        hours = self._window(Need(begin, begin, {}, 0))
        return (end - begin) / HOUR * min(min(row[hour] for hour in hours) for row in self._prices)

    def _one_box(self, need: Need, number: int, window: range) -> float:
        """What one new box on a machine costs that does all of it, ordered in the best hour."""
        machine = self._machines[number]
        seconds = _fill(need, [1 / machine.rates[task] for task in TASKS])
        if seconds > need.end - need.begin:
            return float("inf")
        traffic = START_GB * machine.traffic_in
        traffic += _fill(need, [UNIT_GB[task] * machine.traffic_in for task in TASKS])
        disk = self._storage[number] / HOUR * machine.pulling * FASTEST_LOAD
        least = float("inf")
        for hour in window:
            paid = machine.warming + self._waits(need, machine, hour) + seconds
            least = min(least, self._prices[number][hour] * paid / HOUR)
        return least + traffic + disk

    def _waits(self, need: Need, machine: Machine, hour: int) -> float:
        """Seconds that a box is paid for before the work begins, if it is ordered at the end of an hour."""
        runs = self._start + (hour + 1) * HOUR + machine.pulling * SLOWEST_LOAD + machine.warming
        return max(0.0, need.begin - runs)

    def _window(self, need: Need) -> range:
        """The hours in which a box that works between the need's two times may have been ordered."""
        first = int((need.begin - self._longest - self._start) // HOUR) - 1
        return range(max(0, first), int((need.end - self._start) // HOUR) + 1)


def _price(prices: Prices, machine: Machine, hour: int, settings: FleetSettings) -> float:
    """Dollars an hour with the disk; infinite where it cannot be rented in that hour of the market."""
    moment = prices.start + hour * HOUR
    gpu, bid = prices.price(machine, moment)
    storage = Ask(0, machine, gpu, bid, 0).storage(settings.disk_gb)
    price = (bid if settings.rent == "interruptible" else gpu) + storage
    dear = price > settings.caps.price_per_hour
    return float("inf") if dear or not prices.is_free(machine, moment, moment + HOUR) else price


def _fill(need: Need, cost: Sequence[float]) -> float:
    """The least cost of the lacking seconds, where a unit of each task costs so much."""
    left, total = need.lacking, 0.0
    # First what costs least for the time that it saves here.
    for task, price in sorted(
        zip(TASKS, cost, strict=True), key=lambda each: each[1] / HOME_SECONDS[each[0]]
    ):
        seconds = min(left, need.units[task] * HOME_SECONDS[task])
        if seconds > 0:
            total += seconds / HOME_SECONDS[task] * price
            left -= seconds
    return total
