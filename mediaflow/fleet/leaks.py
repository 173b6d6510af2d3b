"""Leaks: boxes that the market has of us and the ledger does not, and what they cost."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from mediaflow.fleet import ledger
from mediaflow.fleet.labels import labels_here
from mediaflow.fleet.market import Instance, Market, MarketError
from mediaflow.fleet.settings import FleetSettings


@dataclass(frozen=True, slots=True)
class Leak:
    """A box that costs money and that nobody here wants; `cost` is what it has cost so far, in dollars.

    `step` is what to do about it.
    """

    instance: Instance
    cost: float
    why: str
    step: str


STEP = "A controller ends it; without one: mediaflow fleet down"


def leaks(market: Market, db: sqlite3.Connection, fleet: FleetSettings) -> list[Leak]:
    """What is rented under this installation's name without being wanted. Raises MarketError."""
    now = time.time()
    labels = labels_here(fleet)
    found: list[tuple[Instance, str]] = []
    others: set[int] = set()
    for instance in market.instances():
        if not labels.is_named(instance.label):
            continue
        box = ledger.box(db, instance.label)
        if not labels.is_own(instance.label, db):
            others.add(instance.contract)
            what = "another installation with the same name, or of a home that is lost"
            found.append((instance, f"box {instance.label} is of {what}"))
        elif box is None:
            found.append((instance, "the ledger does not know it"))
        elif box.contract not in (None, instance.contract):
            found.append((instance, f"{box.label} was ordered once and is there twice"))
        elif box.state == "ended":
            found.append((instance, "it was ended, and is there still"))
        elif box.lease < now:
            found.append((instance, "its lease is over"))
    charged = _charged(market, min((each.started for each, _ in found), default=now)) if found else {}
    return [
        Leak(
            each,
            max(charged.get(each.contract, 0.0), _estimate(each, now)),
            why,
            _step_for(each) if each.contract in others else STEP,
        )
        for each, why in found
    ]


def _step_for(other: Instance) -> str:
    """What to do about a box that is not of this home."""
    ends = f"`vastai destroy instance {other.contract}` if it is yours"
    return f"`fleet down` does not end it. Give each installation its own `name`, or: {ends}"


def _charged(market: Market, since: float) -> dict[int, float]:
    """Dollars by contract; what cannot be asked is estimated."""
    found: dict[int, float] = {}
    try:
        for charge in market.charges(since):
            found[charge.contract] = found.get(charge.contract, 0.0) + charge.dollars
    except MarketError:
        return {}
    return found


def _estimate(instance: Instance, now: float) -> float:
    return max(0.0, now - instance.started) / 3600 * instance.price if instance.state == "running" else 0.0
