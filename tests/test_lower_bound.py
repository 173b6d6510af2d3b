"""The lower bound: no schedule that does the work is cheaper, and the best ones are not much dearer."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.simulator.account import Account, Request
from mediaflow.fleet.simulator.arrivals import HOUR, MONTH_START, Arrival
from mediaflow.fleet.simulator.faults import Faults
from mediaflow.fleet.simulator.lower_bound import lower_bound
from mediaflow.fleet.simulator.prices import Prices
from mediaflow.fleet.simulator.trade import fits
from mediaflow.fleet.simulator.work import HOME_SECONDS, TASKS, Run, Work
from mediaflow.fleet.spending import START_GB

FLEET = FleetSettings(enabled=True, libraries={"default": TASKS}, deadline_hours=4)
STEP = 120.0
# A box of a schedule: hours after the month's begin, its place among the cheapest offers, hours till its end.
Rental = tuple[float, int, float]


def photos(count: int, hours: float = 0.0, **others: int) -> Arrival:
    return Arrival(MONTH_START + hours * HOUR, "photos", {"photo": count} | others)


def bound(runs: list[Run], seed: int) -> float:
    return lower_bound(runs, Prices(seed, MONTH_START), FLEET)


def play(arrivals: list[Arrival], rentals: list[Rental], seed: int) -> tuple[float, list[Run]]:
    """Do the work with these boxes and this machine; dollars, and the runs."""
    account = Account(Prices(seed, MONTH_START), Faults(seed))
    work = Work(FLEET.deadline_hours)
    coming = sorted(arrivals, key=lambda arrival: arrival.at)
    waiting = sorted(rentals)
    now = MONTH_START
    ends: dict[int, float] = {}
    while coming or work.open or account.open or waiting:
        while coming and coming[0].at <= now:
            work.submit(coming.pop(0))
        while waiting and MONTH_START + waiting[0][0] * HOUR <= now:
            _, place, hours = waiting.pop(0)
            offers = [ask for ask in account.search(now) if fits(ask, FLEET)]
            offers.sort(key=lambda ask: ask.gpu / ask.machine.rates["ocr"])
            box = account.order(now, Request(offers[place].id, "", "image", FLEET.disk_gb, {}))
            ends[box.contract] = now + hours * HOUR
        now += STEP
        account.advance(now)
        for box in account.open:
            worked = min(STEP, box.ran - box.machine.warming)
            if worked > 0:
                cost = {task: 1 / box.machine.rates[task] for task in TASKS}
                account.transfer(now, box.contract, work.serve(worked, cost, TASKS).gigabytes)
            if now >= ends[box.contract]:
                account.destroy(now, box.contract)
        work.serve(STEP, HOME_SECONDS, HOME_SECONDS)
        work.settle(now)
    return sum(box.paid for box in account.boxes.values()), work.runs


def in_time(runs: list[Run]) -> bool:
    return all(run.finished is not None and run.finished <= run.deadline for run in runs)


def test_what_this_machine_can_do_in_time_costs_nothing() -> None:
    spend, runs = play([photos(10_000), photos(10_000, 6)], [], seed=1)
    assert in_time(runs)
    assert spend == bound(runs, 1) == 0


def test_what_is_done_late_by_this_machine_alone_costs_nothing() -> None:
    spend, runs = play([photos(40_000)], [], seed=1)
    assert not in_time(runs)
    assert spend == bound(runs, 1) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "arrivals",
    [
        [photos(20_000)],
        [photos(16_000, video=300)],
        [photos(9_000), photos(12_000, 1)],
        [photos(18_000), photos(18_000, 12)],
    ],
    ids=["one", "videos", "overlapping", "apart"],
)
def test_of_many_schedules_none_is_cheaper_and_the_best_is_near(arrivals: list[Arrival], seed: int) -> None:
    first = [(begin, place, hours) for begin, place, hours in product((0, 1), (0, 1, 2), (0.4, 0.6, 1, 1.5))]
    again = (
        [(12.5, 0, hours) for hours in (0.4, 0.6, 1, 1.5)] if arrivals[-1].at > MONTH_START + 9 * HOUR else []
    )
    schedules = [[rental] for rental in first] + [[one, two] for one in first for two in again]
    best = float("inf")
    for schedule in schedules:
        spend, runs = play(arrivals, schedule, seed)
        assert bound(runs, seed) <= spend
        if in_time(runs):
            best = min(best, spend)
    least = bound(promised(arrivals), seed)
    assert 0 < least <= best < 2 * least


def promised(arrivals: list[Arrival]) -> list[Run]:
    """Runs that were all done just in time."""
    work = Work(FLEET.deadline_hours)
    for arrival in arrivals:
        work.submit(arrival)
    for run in work.runs:
        run.finished = run.deadline
    return work.runs


def test_more_work_or_less_time_never_costs_less() -> None:
    little, much = bound(promised([photos(20_000)]), 1), bound(promised([photos(30_000)]), 1)
    assert 0 < little < much
    late = promised([photos(30_000)])
    late[0].finished = late[0].deadline + HOUR
    assert 0 < bound(late, 1) < much


@pytest.mark.parametrize("seed", range(1, 5))
def test_the_order_of_the_machines_does_not_matter(seed: int) -> None:
    prices = Prices(seed, MONTH_START)
    hour = MONTH_START + seed * HOUR + 1800
    runs = promised([Arrival(hour, "burst", {"photo": 72_000, "scan": 18_000, "video": 4_000})])
    bounds = []
    for _ in prices.machines:
        bounds.append(lower_bound(runs, prices, FLEET))
        prices.machines.append(prices.machines.pop(0))
    assert max(bounds) == pytest.approx(min(bounds))


@pytest.mark.parametrize(("files", "boxes"), [(20_000, 1), (200_000, 2)])
def test_each_start_pays_for_what_it_brings_in(
    files: int, boxes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = Prices(1, MONTH_START)
    prices.machines[:] = [replace(machine, traffic_in=0.1) for machine in prices.machines]
    runs = promised([photos(files)])
    whole = lower_bound(runs, prices, FLEET)
    monkeypatch.setattr("mediaflow.fleet.simulator.lower_bound.START_GB", 0.0)
    assert whole - lower_bound(runs, prices, FLEET) == pytest.approx(boxes * 0.1 * START_GB)


def test_two_clusters_far_apart_start_twice() -> None:
    once = bound(promised([photos(20_000)]), 1)
    twice = bound(promised([photos(20_000), photos(20_000, 200)]), 1)
    assert twice > 1.5 * once


arrival_lists = st.lists(
    st.builds(
        photos,
        st.integers(500, 25_000),
        st.floats(0, 30),
        video=st.integers(0, 300),
        recording=st.integers(0, 200),
    ),
    min_size=1,
    max_size=4,
)
rental_lists = st.lists(st.tuples(st.floats(0, 36), st.integers(0, 4), st.floats(0.05, 6)), max_size=4)


@given(arrival_lists, rental_lists, st.integers(1, 1000))
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_no_schedule_at_all_is_cheaper(arrivals: list[Arrival], rentals: list[Rental], seed: int) -> None:
    spend, runs = play(arrivals, rentals, seed)
    assert bound(runs, seed) <= spend + 1e-9
