"""What a simulated month came to, as the market's books have it and not as the controller believes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any

from mediaflow.fleet import ledger
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.simulator.account import Account
from mediaflow.fleet.simulator.rented import DAY, HOUR, Rented
from mediaflow.fleet.simulator.work import Run


@dataclass(frozen=True, slots=True)
class Report:
    """Dollars, hours and shares of one month.

    `wait_p95_s` is from a run's submit to its last result, None where more than a twentieth never had it.
    """

    policy: str
    seed: int
    days: int
    files: int
    spend: float
    lower_bound: float
    ratio: float | None
    leaked_box_hours: float
    cap_violations: int
    within_deadline: float
    wait_p95_s: float | None
    runs: int
    boxes: int
    unfinished: int

    def json(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)


def waits(runs: Sequence[Run]) -> list[float]:
    """Seconds from submit to the last result, in ascending order; infinite where that never came."""
    return sorted(inf if run.finished is None else run.finished - run.arrival.at for run in runs)


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` of the ascending values lie; 0 for none."""
    return values[min(len(values) - 1, int(len(values) * part))] if values else 0.0


def within_deadline(runs: Sequence[Run]) -> float:
    """The share of runs that were done in time."""
    good = sum(run.finished is not None and run.finished <= run.deadline + 1 for run in runs)
    return good / len(runs) if runs else 1.0


def leaked_box_hours(account: Account, db: sqlite3.Connection, settings: FleetSettings, now: float) -> float:
    """Hours of boxes that cost money though nobody knew of them, or after they were believed to be over.

    A box is known while the ledger has its contract and has not written it off. One that an order made whose
    answer was lost may be found later: it has as long as a box that hears nothing. What is left when the
    month's work is done leaks too.
    """
    known = {box.contract: box for box in ledger.boxes(db, ended_since=0.0)}
    patience = settings.silence_minutes * 60
    leaked = 0.0
    for rented in account.boxes.values():
        end = rented.ended if rented.ended is not None else now
        box = known.get(rented.contract)
        if rented.ended is None:
            leaked += now - (box.ended if box is not None and box.ended else rented.ordered)
        elif box is None:
            leaked += max(0.0, end - rented.ordered - patience)
        elif box.ended is not None:
            leaked += max(0.0, end - box.ended)
    return leaked / HOUR


def cap_violations(account: Account, settings: FleetSettings) -> int:
    """How often a cap was broken: money of a day or month, a box too dear or too old, too many boxes."""
    caps = settings.caps
    boxes = list(account.boxes.values())
    days: dict[float, float] = {}
    months: dict[tuple[int, int], float] = {}
    for box in boxes:
        for (day, _), dollars in box.dollars.items():
            days[day] = days.get(day, 0.0) + dollars
            month = _month(day)
            months[month] = months.get(month, 0.0) + dollars
    broken = sum(dollars > caps.per_day + 1e-9 for dollars in days.values())
    broken += sum(dollars > caps.per_month + 1e-9 for dollars in months.values())
    broken += sum(box.price > caps.price_per_hour + 1e-9 for box in boxes)
    broken += sum(box.settled - box.ordered > caps.hours * HOUR + 60 for box in boxes)
    return broken + _too_many(boxes, caps.boxes)


def _too_many(boxes: Sequence[Rented], most: int) -> int:
    """How often a box was ordered while as many as may be were there.

    What the market makes of one order twice is no order of ours.
    """
    broken, labels = 0, set()
    for box in sorted(boxes, key=lambda box: (box.ordered, box.contract)):
        twin = box.label in labels
        labels.add(box.label)
        others = {each.label for each in boxes if each.ordered <= box.ordered < (each.ended or inf)}
        broken += not twin and len(others | {box.label}) > most
    return broken


def _month(day: float) -> tuple[int, int]:
    date = datetime.fromtimestamp(day + DAY / 2, UTC)
    return date.year, date.month
