"""What the fleet says of itself: boxes, money, why; in the forms that the command line prints."""

from __future__ import annotations

import sqlite3
from typing import Any

from mediaflow.fleet import ledger
from mediaflow.fleet.backlog import Backlog
from mediaflow.fleet.controller import Controller, label_prefix
from mediaflow.fleet.cost import Estimate, estimates
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.market import Instance
from mediaflow.fleet.policies import by_deadline
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.speeds import Speeds
from mediaflow.fleet.spending import DAY, day_start, month_start, own_estimate, spending

# A controller that has not said anything for so long does not run, or its machine sleeps.
ALIVE_SECONDS = 120.0
# With nothing waiting, offers are compared by so many files that want each task once.
EXAMPLE_FILES = 1000


def fleet_state(db: sqlite3.Connection, now: float) -> dict[str, Any]:
    """What `mediaflow status --json` says under `fleet`."""
    spent = spending(db, now)
    beat = ledger.fact(db, "beat")
    return {
        "controller": beat is not None and now - beat < ALIVE_SECONDS,
        "boxes": [box_state(box, now) for box in ledger.boxes(db)],
        "spend_today": round(spent.day, 4),
        "spend_month": round(spent.month, 4),
        "why": ledger.fact(db, "why") or "",
        "trouble": ledger.fact(db, "trouble") or "",
        "hold": ledger.fact(db, "hold") or "",
        "fallback": ledger.fact(db, "fallback") or "",
        "resumes": ledger.fact(db, "resumes"),
        "credit": ledger.fact(db, "credit"),
    }


def box_state(box: Box, now: float) -> dict[str, Any]:
    """A box for people and scripts: nothing of its credential is in it."""
    return {
        "box": box.label,
        "state": box.state,
        "gpu": box.gpu,
        "region": box.region,
        "host": box.host,
        "price": box.price,
        "age": round(now - box.intended, 1),
        "done": box.done,
        "in_hand": box.in_hand,
        "cost": round(cost_of(box, now), 4),
        "seen": None if box.seen is None else round(now - box.seen, 1),
        "reason": box.reason,
        "trouble": box.trouble,
    }


def cost_of(box: Box, now: float) -> float:
    """What a box has cost so far: as the market charged, or by its price where that is more."""
    if box.contract is None:
        return 0.0
    end = box.ended or now
    own = box.storage * ((box.running or end) - box.intended) / 3600
    if box.running is not None:
        own += box.price * (end - box.running) / 3600 + box.traffic * box.bytes / 1e9
    return max(box.charged, own)


def costs(db: sqlite3.Connection, settings: FleetSettings, now: float, days: int = 31) -> dict[str, Any]:
    """What the fleet cost by day, month, box and GPU, for 1,000 items, and what the caps still allow."""
    spent = spending(db, now)
    charged: dict[str, float] = ledger.fact(db, "charges") or {}
    boxes = ledger.boxes(db, ended_since=now - days * DAY)
    by_gpu: dict[str, dict[str, float]] = {}
    for box in boxes:
        entry = by_gpu.setdefault(box.gpu, {"boxes": 0, "dollars": 0.0, "items": 0})
        entry["boxes"] += 1
        entry["dollars"] += cost_of(box, now)
        entry["items"] += box.done
    for entry in by_gpu.values():
        entry["dollars"] = round(entry["dollars"], 4)
        entry["per_thousand"] = round(entry["dollars"] / entry["items"] * 1000, 4) if entry["items"] else 0.0
    by_day = []
    for number in range(days):
        day = day_start(now) - number * DAY
        own = own_estimate(db, day, min(now, day + DAY))
        market = charged.get(_date(day), 0.0)
        if own > 0 or market > 0:
            by_day.append({"day": _date(day), "dollars": round(max(own, market), 4), "charged": market})
    caps = settings.caps
    return {
        "today": round(spent.day, 4),
        "month": round(spent.month, 4),
        "left_today": round(max(0.0, caps.per_day - spent.day), 4),
        "left_month": round(max(0.0, caps.per_month - spent.month), 4),
        "days": by_day,
        "boxes": [box_state(box, now) for box in reversed(boxes) if box.contract is not None],
        "gpus": by_gpu,
        "tasks": _by_task(db, boxes),
        "credit": ledger.fact(db, "credit"),
    }


def _by_task(db: sqlite3.Connection, boxes: list[Box]) -> dict[str, float]:
    """Dollars for 1,000 items of each task, at the usual price of the GPUs that were measured and used."""
    found: dict[str, list[float]] = {}
    price: dict[str, list[float]] = {}
    for box in boxes:
        price.setdefault(box.gpu, []).append(box.price)
    for (gpu, task), rate in ledger.rates(db).items():
        if gpu in price:
            found.setdefault(task, []).append(sum(price[gpu]) / len(price[gpu]) / 3600 / rate * 1000)
    return {task: round(sum(values) / len(values), 5) for task, values in sorted(found.items())}


def plan(controller: Controller, db: sqlite3.Connection, backlog: Backlog, now: float) -> dict[str, Any]:
    """What would be rented now and why, and the offers in the order of what they would cost.

    Raises MarketError.
    """
    boxes = [box for box in ledger.boxes(db) if box.state in ("intended", "loading", "working")]
    situation = controller.situation(now, backlog, boxes)
    desire = by_deadline(situation)
    candidates = list(desire.candidates)
    if not candidates:
        items = backlog.total() or dict.fromkeys(situation.settings.tasks(), EXAMPLE_FILES)
        speeds = Speeds(ledger.rates(db))
        candidates = estimates(situation.offers(), items, 1.0, situation.settings, speeds, situation.scale)
    return {
        "why": desire.why,
        "waiting": backlog.total(),
        "order": None if desire.order is None else desire.order.offer.id,
        "release": list(desire.release),
        "offers": [_offer_state(each) for each in candidates],
    }


def _offer_state(each: Estimate) -> dict[str, Any]:
    offer = each.offer
    return {
        "offer": offer.id,
        "gpu": offer.gpu,
        "region": offer.region,
        "host": offer.host,
        "price": round(each.price, 4),
        "speed": round(each.speedup, 2),
        "measured": each.measured,
        "reliability": offer.reliability,
        "start": round(each.start.seconds, 1),
        "work": round(each.work, 1),
        "dollars": round(each.dollars, 5),
        "per_thousand": round(each.per_thousand, 5),
    }


def leaks(
    db: sqlite3.Connection, instances: list[Instance], settings: FleetSettings, now: float
) -> list[dict[str, Any]]:
    """What is rented under our name and not wanted by the ledger, and what it costs."""
    known = {box.label: box for box in ledger.boxes(db)}
    found = []
    for instance in instances:
        if not instance.label.startswith(label_prefix(settings)):
            continue
        box = known.get(instance.label)
        if box is None or box.contract not in (None, instance.contract):
            hours = max(0.0, now - instance.started) / 3600
            found.append(
                {
                    "contract": instance.contract,
                    "box": instance.label,
                    "state": instance.state,
                    "price": instance.price,
                    "cost": round(hours * instance.price, 4),
                }
            )
    return found


def month_name(now: float) -> str:
    """The month as people write it."""
    return _date(month_start(now))[:7]


def _date(day: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(day, UTC).strftime("%Y-%m-%d")
