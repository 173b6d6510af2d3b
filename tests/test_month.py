"""A simulated month: what is promised of it holds with any seed, fault and arrivals."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaflow.cli.fleet_simulate import shown
from mediaflow.fleet.policies import POLICIES
from mediaflow.fleet.resumption import next_time
from mediaflow.fleet.settings import CapSettings, FallbackSettings, OfferSettings, load_fleet
from mediaflow.fleet.simulator.account import Account, Request
from mediaflow.fleet.simulator.arrivals import DAY, HOUR, MONTH_START, Arrival, month
from mediaflow.fleet.simulator.faults import FAULTS, Faults
from mediaflow.fleet.simulator.month import Month, simulate
from mediaflow.fleet.simulator.prices import Prices
from mediaflow.fleet.simulator.rented import Rented
from mediaflow.fleet.simulator.report import cap_violations
from mediaflow.fleet.simulator.work import TASKS
from mediaflow.fleet.spending import START_GB
from tests.installation import answer, mediaflow

FLEET = load_fleet().model_copy(update={"enabled": True})


def burst(files: int = 40_000, day: float = 1.0) -> Arrival:
    return Arrival(MONTH_START + day * DAY, "burst", {"photo": files, "video": files // 40})


def clean(month: Month) -> bool:
    """Nothing leaked, no cap was broken, and everything was done in the end."""
    report = month.report
    return not (report.leaked_box_hours or report.cap_violations or report.unfinished)


def test_a_seed_is_a_month_and_another_is_another() -> None:
    assert month(1, 30) == month(1, 30) != month(2, 30)
    one, same, other = (Prices(seed, MONTH_START) for seed in (1, 1, 2))
    # A price is a function of the time: it does not matter when it was looked at.
    later = MONTH_START + 500 * HOUR
    whole = [list(one.asks(MONTH_START + hour * HOUR)) for hour in range(501)]
    assert list(same.asks(later)) == whole[500] != list(other.asks(later))


def test_a_month_is_the_same_each_time() -> None:
    one, again = (simulate(3, 7, "deadline", FLEET).report for _ in range(2))
    assert one == again


def test_where_this_machine_is_enough_nothing_is_rented() -> None:
    arrivals = [Arrival(MONTH_START + day * DAY, "night", {"photo": 5000}) for day in range(5)]
    month = simulate(1, 6, "deadline", FLEET, arrivals=arrivals)
    assert (month.report.spend, month.report.boxes, month.report.within_deadline) == (0, 0, 1)


def test_a_burst_is_done_in_time_by_boxes_that_go() -> None:
    month = simulate(1, 3, "deadline", FLEET, arrivals=[burst()], usual=False)
    assert clean(month)
    assert month.report.within_deadline == 1
    assert month.report.boxes > 0
    assert not month.account.open
    assert month.report.lower_bound <= month.report.spend <= 1.3 * month.report.lower_bound


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_with_each_fault_everything_is_done_and_nothing_leaks(fault: str) -> None:
    month = simulate(2, 3, "deadline", FLEET, arrivals=[burst()], usual=False, forced={fault: 2})
    assert clean(month)
    assert month.report.within_deadline == 1
    assert not month.account.open


@pytest.mark.parametrize(("tasks", "seconds"), [(TASKS, 0.97), (("ocr",), 0.75)])
def test_this_machine_waits_for_boxes_with_what_may_leave_as_long_as_it_is_told(
    tasks: tuple[str, ...], seconds: float
) -> None:
    waiting = FallbackSettings(work="wait", until="23:00")
    nothing = OfferSettings(gpus=("none",))
    changes = {"fallback": waiting, "offers": nothing, "libraries": {"default": tasks}}
    photos = Arrival(MONTH_START + 8 * HOUR, "photos", {"photo": 5000})
    month = simulate(1, 1, "deadline", FLEET.model_copy(update=changes), arrivals=[photos], usual=False)
    (run,) = month.work.runs
    assert run.finished is not None
    # All else was done before, and these tasks were not begun.
    worked = run.finished - next_time("23:00", photos.at)
    assert 5000 * seconds <= worked <= 5000 * seconds + 60


def test_a_run_that_is_never_done_has_waited_for_ever() -> None:
    fleet = FLEET.model_copy(update={"offers": OfferSettings(gpus=("none",))})
    arrivals = [Arrival(MONTH_START + hour * HOUR, "run", {"photo": 10**hour}) for hour in (1, 6)]
    report = simulate(1, 1, "deadline", fleet, arrivals=arrivals, usual=False).report
    assert report.unfinished == 1
    assert report.json()["wait_p95_s"] is None
    assert shown("wait_p95_s", report.wait_p95_s) == "never"


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_pays_for_boxes_after_the_month_and_its_work(policy: str) -> None:
    month = simulate(1, 2, policy, FLEET, arrivals=[burst()], usual=False)
    over = max(MONTH_START + 2 * DAY, *(run.finished or 0 for run in month.work.runs))
    assert month.account.boxes
    assert all(box.ended and box.ended < over + 0.1 * HOUR for box in month.account.boxes.values())


def test_interruptible_boxes_are_replaced_when_they_are_outbid() -> None:
    fleet = FLEET.model_copy(update={"rent": "interruptible", "bid": 1.0})
    month = simulate(4, 3, "deadline", fleet, arrivals=[burst(60_000)], usual=False)
    assert clean(month)
    assert month.report.lower_bound <= month.report.spend


def test_a_cap_holds_also_where_the_work_then_is_late() -> None:
    caps = CapSettings(per_day=0.1, boxes=1)
    fleet = FLEET.model_copy(update={"caps": caps})
    month = simulate(1, 4, "deadline", fleet, arrivals=[burst(80_000)], usual=False)
    assert not month.report.cap_violations
    assert month.report.within_deadline == 0
    assert not month.report.unfinished
    # What would have broken it is seen: with a lower cap the same month has.
    lower = fleet.model_copy(update={"caps": CapSettings(per_day=0.01, boxes=1)})
    assert cap_violations(month.account, lower) > 0


def test_what_a_start_brings_in_is_paid_once_and_when_the_box_runs() -> None:
    account = Account(Prices(1, MONTH_START), Faults(1))
    ask = next(ask for ask in account.search(MONTH_START) if ask.machine.traffic_in)
    box = account.order(MONTH_START, Request(ask.id, "", "image", 20, {}))
    account.advance(box.runs_at - 1)
    assert not traffic(box)
    account.advance(box.runs_at + 1)
    account.stop(box.runs_at + 1, box.contract)
    account.restart(box.runs_at + 2, box.contract)
    account.advance(box.runs_at + HOUR)
    assert box.running
    assert traffic(box) == START_GB * ask.machine.traffic_in


def traffic(box: Rented) -> float:
    return sum(dollars for (_, kind), dollars in box.dollars.items() if kind == "bwd")


def test_a_box_that_nobody_ends_is_a_leak() -> None:
    month = simulate(1, 3, "deadline", FLEET, arrivals=[burst()], usual=False)
    from mediaflow.fleet import ledger
    from mediaflow.fleet.simulator.report import leaked_box_hours

    db = ledger.open_ledger(":memory:")  # one that knows of none of the boxes
    end = max(box.settled for box in month.account.boxes.values()) + HOUR
    assert leaked_box_hours(month.account, db, FLEET, end) > 0


kinds = st.fixed_dictionaries(
    {
        "photo": st.integers(100, 40_000),
        "scan": st.integers(0, 10_000),
        "video": st.integers(0, 2000),
        "recording": st.integers(0, 800),
    }
)
arrival_lists = st.lists(
    st.builds(
        lambda hours, kinds: Arrival(MONTH_START + hours * HOUR, "run", kinds), st.floats(0, 96), kinds
    ),
    min_size=1,
    max_size=8,
)


@given(arrival_lists, st.integers(1, 10_000))
@settings(max_examples=15, deadline=None)
@pytest.mark.slow
def test_whatever_arrives_nothing_leaks_no_cap_breaks_and_the_bound_is_below(
    arrivals: list[Arrival], seed: int
) -> None:
    month = simulate(seed, 5, "deadline", FLEET, arrivals=sorted(arrivals, key=lambda each: each.at))
    assert clean(month)
    assert month.report.lower_bound <= month.report.spend + 1e-6


@pytest.mark.long
@pytest.mark.slow
def test_three_months_keep_the_promises_and_beat_the_simple_policies() -> None:
    seeds = (31, 32, 33)
    own = [simulate(seed, 30, "deadline", FLEET).report for seed in seeds]
    assert not any(each.leaked_box_hours or each.cap_violations or each.unfinished for each in own)
    runs = sum(each.runs for each in own)
    assert sum(each.within_deadline * each.runs for each in own) >= 0.95 * runs
    assert sum(each.spend for each in own) <= 1.3 * sum(each.lower_bound for each in own)
    for policy in ("cheapest-offer", "box-per-backlog"):
        assert sum(simulate(seed, 30, policy, FLEET).report.spend for seed in seeds) > sum(
            each.spend for each in own
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "8000"], "only with --serve"),
        (["--key", "simulated"], "only with --serve"),
        (["--haste", "2"], "only with --serve"),
        (["--credit", "100"], "only with --serve"),
        (["--box", "true"], "only with --serve"),
        (["--serve", "--days", "30"], "only without --serve"),
        (["--serve", "--policy", "deadline"], "only without --serve"),
        (["--serve", "--port", "99999"], "--port"),
        (["--serve", "--port", "-1"], "--port"),
    ],
    ids=str,
)
def test_an_option_that_would_mean_nothing_is_wrong_usage(arguments: list[str], said: str) -> None:
    done = mediaflow("fleet", "simulate", *arguments, timeout=30)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.slow
def test_the_command_answers_with_what_is_promised() -> None:
    said = answer("fleet", "simulate", "--days", "4", "--seed", "5", "--policy", "deadline")
    assert {"policy", "seed", "days", "files", "spend", "lower_bound", "ratio"} <= set(said)
    assert {"leaked_box_hours", "cap_violations", "within_deadline", "wait_p95_s"} <= set(said)
    assert (said["policy"], said["seed"], said["days"]) == ("deadline", 5, 4)
    assert json.dumps(said)


def test_the_same_files_in_less_time_cost_more() -> None:
    hasty = FLEET.model_copy(update={"deadline_hours": 4.0})
    slow, fast = (
        simulate(1, 3, "deadline", fleet, arrivals=[burst()], usual=False).report for fleet in (FLEET, hasty)
    )
    assert slow.spend < fast.spend
    assert slow.lower_bound < fast.lower_bound
