"""Leaks: boxes that the market has of us and the ledger does not, and what they cost."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from mediaflow.fleet import ledger
from mediaflow.fleet.labels import label_prefix
from mediaflow.fleet.market import Instance, Market, MarketError
from mediaflow.fleet.settings import FleetSettings


@dataclass(frozen=True, slots=True)
class Leak:
    """A box that costs money and that nobody wants; `cost` is what it has cost so far, in dollars."""

    instance: Instance
    cost: float
    why: str


def leaks(market: Market, db: sqlite3.Connection, fleet: FleetSettings) -> list[Leak]:
    """What is rented under this installation's name without being wanted. Raises MarketError."""
    now = time.time()
    found: list[tuple[Instance, str]] = []
    for instance in market.instances():
        if not instance.label.startswith(label_prefix(fleet)):
            continue
        box = ledger.box(db, instance.label)
        if box is None:
            found.append((instance, "the ledger does not know it"))
        elif box.contract not in (None, instance.contract):
            found.append((instance, f"{box.label} was ordered once and is there twice"))
        elif box.state == "ended":
            found.append((instance, "it was ended, and is there still"))
        elif box.lease < now:
            found.append((instance, "its lease is over"))
    charged = _charged(market, min((each.started for each, _ in found), default=now)) if found else {}
    return [
        Leak(each, max(charged.get(each.contract, 0.0), _estimate(each, now)), why) for each, why in found
    ]


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
