"""Spending: what the fleet has cost, what it can still cost before it surely ends, and the caps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mediaflow.fleet import ledger
from mediaflow.fleet.labels import Labels
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.market import Charge
from mediaflow.fleet.settings import FleetSettings

DAY = 86400.0
# After its lease a box may take so long to end itself.
GRACE_SECONDS = 120.0
# So long before the caps forbid a box, it is told to finish what it has.
DRAIN_SECONDS = 240.0
# Of the caps so much is used: prices and clocks of the market are not quite ours.
USED = 0.97
# Gigabytes that a start may bring in.
START_GB = 8.0


@dataclass(frozen=True, slots=True)
class Spending:
    """Dollars spent so far on this day and in this month (UTC)."""

    day: float
    month: float

    def room(self, settings: FleetSettings) -> float:
        """Dollars that may still be spent."""
        caps = settings.caps
        return min(caps.per_day * USED - self.day, caps.per_month * USED - self.month)


def spending(db: sqlite3.Connection, now: float) -> Spending:
    """What was spent: the market's charges, or our own estimate where that is more."""
    charged: dict[str, float] = ledger.fact(db, "charges") or {}
    day, month = day_start(now), month_start(now)
    return Spending(
        max(own_estimate(db, day, now), charged.get(_name(day), 0.0)),
        max(
            own_estimate(db, month, now),
            sum(dollars for name, dollars in charged.items() if name[:7] == _name(month)[:7]),
        ),
    )


def own_estimate(db: sqlite3.Connection, since: float, until: float) -> float:
    """What the ledger's boxes cost between two times, by their prices."""
    row = db.execute(
        "SELECT SUM(price * MAX(0, MIN(COALESCE(ended, :until), :until) - MAX(running, :since))) / 3600,"
        " SUM(storage * MAX(0, MIN(COALESCE(running, ended, :until), :until)"
        "  - MAX(intended, :since))) / 3600,"
        # What came in is counted when it began: that is mostly the models.
        " SUM(CASE WHEN COALESCE(running, intended) >= :since THEN traffic * (bytes / 1e9 + :gb) END)"
        " FROM boxes WHERE (ended IS NULL OR ended >= :since) AND contract IS NOT NULL"
        " AND intended <= :until",
        {"since": since, "until": until, "gb": START_GB},
    ).fetchone()
    return sum(value or 0.0 for value in row)


def still(price: float, lease_left: float) -> float:
    """The most a box can cost, from now on, when its lease is not renewed."""
    return price * (max(0.0, lease_left) + GRACE_SECONDS) / 3600


def reserved(boxes: Iterable[Box], settings: FleetSettings, *, extra_seconds: float = 0.0) -> float:
    """The most that boxes can still cost when their leases are renewed now (and `extra_seconds` later)."""
    lease = settings.silence_minutes * 60 + extra_seconds
    return sum(still(box.price, lease) for box in boxes)


def refusal(
    spent: Spending,
    boxes: Sequence[Box],
    price: float,
    traffic: float,
    seconds: float,
    settings: FleetSettings,
) -> str | None:
    """Why the caps forbid to order a box of this price that is needed for `seconds`; None where they do not.

    `boxes` are those that cost money now, those at their end among them.
    """
    caps = settings.caps
    if len(boxes) >= caps.boxes:
        return f"the cap of {caps.boxes} boxes is reached"
    if price > caps.price_per_hour:
        return f"it costs more than {caps.price_per_hour:g} $ an hour"
    lease = settings.silence_minutes * 60
    needed = reserved(boxes, settings, extra_seconds=DRAIN_SECONDS)
    needed += still(price, lease + DRAIN_SECONDS) + price * seconds / 3600 + traffic * START_GB
    if spent.month + needed > caps.per_month * USED:
        return f"this month's budget ({caps.per_month:g} $) has no room for it: {spent.month:.2f} $ are spent"
    if spent.day + needed > caps.per_day * USED:
        return f"today's budget ({caps.per_day:g} $) has no room for it: {spent.day:.2f} $ are spent"
    return None


def over_budget(
    spent: Spending,
    boxes: Sequence[Box],
    settings: FleetSettings,
    owed: float = 0.0,
    extra_seconds: float = 0.0,
) -> list[Box]:
    """The boxes for whose leases the caps have no room (the dearest first): all others can be renewed.

    `owed`: dollars that other boxes may still cost.
    """
    left = list(boxes)
    over: list[Box] = []
    for box in sorted(boxes, key=lambda each: -each.price):
        if reserved(left, settings, extra_seconds=extra_seconds) + owed <= spent.room(settings):
            break
        left.remove(box)
        over.append(box)
    return over


def over_caps(boxes: Sequence[Box], settings: FleetSettings) -> list[Box]:
    """The boxes that cost too much, or are too many (the dearest): the caps may have been lowered."""
    caps = settings.caps
    over = [box for box in boxes if box.price > caps.price_per_hour]
    left = sorted((box for box in boxes if box not in over), key=lambda each: -each.price)
    return over + left[: max(0, len(left) - caps.boxes)]


def write_charges(db: sqlite3.Connection, charges: Sequence[Charge], labels: Labels, now: float) -> None:
    """Enter what the market says our boxes have cost, by day and by box."""
    days: dict[str, float] = ledger.fact(db, "charges") or {}
    fresh: dict[str, float] = {}
    totals: dict[str, float] = {}
    label_of: dict[int, str] = dict(
        db.execute("SELECT contract, label FROM boxes WHERE contract IS NOT NULL").fetchall()
    )
    for charge in charges:
        label = label_of.get(charge.contract, charge.label)
        if labels.is_own(label, db):
            fresh[_name(charge.day)] = fresh.get(_name(charge.day), 0.0) + charge.dollars
            totals[label] = totals.get(label, 0.0) + charge.dollars
    for name, dollars in fresh.items():
        days[name] = max(days.get(name, 0.0), dollars)  # a list cut short does not give money back
    ledger.put_fact(db, "charges", days, now)
    for label, dollars in totals.items():
        db.execute("UPDATE boxes SET charged = MAX(charged, ?) WHERE label = ?", (dollars, label))


def day_start(now: float) -> float:
    """When the day (UTC) began."""
    return now // DAY * DAY


def month_start(now: float) -> float:
    """When the month (UTC) began."""
    return (
        datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    )


def _name(day: float) -> str:
    return datetime.fromtimestamp(day, UTC).strftime("%Y-%m-%d")
