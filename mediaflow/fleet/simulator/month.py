"""A month in simulated time: the controller as it is, on a market, boxes and work that are played."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from random import Random

from mediaflow.fleet import ledger
from mediaflow.fleet.backlog import Backlog, Waiting
from mediaflow.fleet.controller import Controller
from mediaflow.fleet.policies import POLICIES
from mediaflow.fleet.resumption import resumes
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.simulator.account import Account
from mediaflow.fleet.simulator.arrivals import DAY, MONTH_START, Arrival, month
from mediaflow.fleet.simulator.boxes import Boxes
from mediaflow.fleet.simulator.faults import Faults
from mediaflow.fleet.simulator.lower_bound import lower_bound
from mediaflow.fleet.simulator.prices import Prices
from mediaflow.fleet.simulator.report import (
    Report,
    cap_violations,
    leaked_box_hours,
    percentile,
    waits,
    within_deadline,
)
from mediaflow.fleet.simulator.trade import Trade
from mediaflow.fleet.simulator.work import HOME_SECONDS, TASKS, Work, home_weights
from mediaflow.fleet.speeds import HERE

# Seconds between two ticks: while boxes work, while boxes or work are there, and while nothing is.
BOX_STEP, WORK_STEP, IDLE_STEP = 20.0, 60.0, 3600.0
# How long after the last day the work that is left may take.
REST = 4 * DAY
CREDIT = 200.0


@dataclass(frozen=True, slots=True)
class Month:
    """A simulated month: what it came to, and everything that happened in it."""

    report: Report
    account: Account
    work: Work


def simulate(
    seed: int,
    days: int,
    policy: str,
    settings: FleetSettings,
    *,
    arrivals: list[Arrival] | None = None,
    usual: bool = True,
    forced: Mapping[str, int] | None = None,
    progress: Callable[[float], None] = lambda _part: None,
) -> Month:
    """Play so many days; `progress` is told how much of them has passed."""
    arrivals = month(seed, days) if arrivals is None else arrivals
    faults = Faults(seed, usual=usual, forced=forced)
    account = Account(Prices(seed, MONTH_START), faults, credit=CREDIT)
    with closing(ledger.open_ledger(":memory:")) as db:
        work = Work(settings.deadline_hours)
        trade = Trade(account, settings)
        secret = Random(f"secrets {seed}")
        controller = Controller(
            trade, db, settings, secret=lambda: f"{secret.getrandbits(256):064x}", policy=POLICIES[policy]
        )
        boxes = Boxes(account, db, work, settings, seed)
        now, end = MONTH_START, MONTH_START + days * DAY
        coming = list(arrivals)
        while now < end or ((work.open or account.open) and now < end + REST):
            while coming and coming[0].at <= now:
                work.submit(coming.pop(0))
            trade.now = now
            # A month that is over asks for no box any more, whatever the policy.
            controller.hold = "drain" if now >= end and not work.open else ""
            backlog = _backlog(work, settings)
            controller.tick(now, backlog)
            resumption = resumes(settings.fallback, backlog, now)
            ahead = [at for at in (resumption, *(each.at for each in coming[:1])) if at > now]
            step = _step(account, work, min(ahead, default=math.inf) - now)
            stages = [stage for stage in HOME_SECONDS if resumption <= now or stage not in settings.tasks()]
            now += step
            _here(work, db, settings, stages, now, step)
            boxes.step(now, step)
            work.settle(now)
            progress(min(1.0, (now - MONTH_START) / (end - MONTH_START)))
        account.advance(now)
        leaked = leaked_box_hours(account, db, settings, now)
    return Month(_report(seed, days, policy, settings, account, work, leaked), account, work)


def _step(account: Account, work: Work, soonest: float) -> float:
    """Seconds till the next tick."""
    step = BOX_STEP if account.open and work.open else WORK_STEP if account.open or work.open else IDLE_STEP
    return max(0.001, min(step, soonest))


def _here(
    work: Work,
    db: sqlite3.Connection,
    settings: FleetSettings,
    stages: Sequence[str],
    now: float,
    seconds: float,
) -> None:
    """What this machine did of these stages in the `seconds` before `now`, for nothing."""
    weights = home_weights(settings.fallback.priority)
    done = work.serve(seconds, HOME_SECONDS, stages, weights)
    for stage, used in done.seconds.items():
        ledger.measured(db, HERE, stage, done.items[stage], used, now)


def _backlog(work: Work, settings: FleetSettings) -> Backlog:
    """What waits, as the catalog would count it: files, however much work each of them is."""
    waiting = []
    files: dict[float, int] = {}
    allowed = settings.tasks()
    for run in work.open:
        for task in TASKS:
            ready = math.ceil(run.items(task, run.ready[task]) - 1e-3)
            left = math.ceil(run.items(task, run.left[task]) - 1e-3)
            if left > 0 and task in allowed:
                waiting.append(Waiting(task, ready, run.deadline, run.arrival.at, max(0, left - ready)))
        unprepared = math.ceil(run.items("prepare", run.unprepared) - 1e-3)
        if unprepared > 0:
            files[run.deadline] = files.get(run.deadline, 0) + unprepared
    return Backlog(tuple(waiting), files)


def _report(
    seed: int, days: int, policy: str, settings: FleetSettings, account: Account, work: Work, leaked: float
) -> Report:
    spend = sum(box.paid for box in account.boxes.values())
    wait = percentile(waits(work.runs), 0.95)
    bound = lower_bound(work.runs, account.prices, settings)
    return Report(
        policy=policy,
        seed=seed,
        days=days,
        files=sum(run.arrival.files for run in work.runs),
        spend=round(spend, 4),
        lower_bound=round(bound, 4),
        ratio=round(spend / bound, 3) if bound > 0 else None,
        leaked_box_hours=round(leaked, 3),
        cap_violations=cap_violations(account, settings),
        within_deadline=round(within_deadline(work.runs), 4),
        wait_p95_s=round(wait) if math.isfinite(wait) else None,
        runs=len(work.runs),
        boxes=len(account.boxes),
        unfinished=sum(run.finished is None for run in work.runs),
    )
