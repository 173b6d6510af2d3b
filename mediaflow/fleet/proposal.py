"""The proposal of `mediaflow fleet plan`: what would be rented now, why, and what else is offered."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from mediaflow.catalog.database import connect as open_catalog
from mediaflow.fleet import hosts, ledger
from mediaflow.fleet.backlog import Backlog, read_backlog
from mediaflow.fleet.controller import Controller
from mediaflow.fleet.cost import Estimate, estimates
from mediaflow.fleet.key import api_key
from mediaflow.fleet.policies import Situation, by_deadline
from mediaflow.fleet.settings import FleetSettings, unknown_tasks
from mediaflow.fleet.spending import spending
from mediaflow.fleet.state import fleet_state, until_resumed
from mediaflow.fleet.vast import Vast
from mediaflow.settings import load_settings

# What offers are compared with while nothing waits: files with one item of each task that may leave.
USUAL_FILES = 1000


def propose(fleet: FleetSettings, most: int) -> dict[str, Any]:
    """What the controller would do now, and at most so many offers, those that cost least for the work first.

    Raises MarketError where the market does not answer, ConfigError without a key.
    """
    now = time.time()
    active = fleet.model_copy(update={"enabled": True})
    with closing(ledger.open_ledger()) as db:
        controller = Controller(Vast(active, api_key()), db, active)
        with closing(open_catalog()) as catalog:
            backlog = read_backlog(catalog, active)
        boxes = ledger.boxes(db)
        wanted = [box for box in boxes if box.state in ("intended", "loading", "working")]
        situation = controller.situation(now, backlog, wanted)
        desire = by_deadline(situation)
        items = backlog.total() or dict.fromkeys(active.tasks(), USUAL_FILES)
        candidates = list(desire.candidates or _compare(situation, items))
        if desire.order is not None:  # what is wanted may not be what is cheapest for the work
            candidates = [desire.order, *(each for each in candidates if each != desire.order)]
        spent = spending(db, now)
        machines, bad_hosts = hosts.blocked(db, now)
        state = fleet_state(db, fleet, now)
        refused = until_resumed(state["hold"]) if state["hold"] else None
        if desire.order is not None and refused is None:
            refused = controller.refusal(now, boxes, desire.order, spent)
    return {
        "enabled": fleet.enabled,
        "why": desire.why,
        "refused": refused,
        # What only the controller that runs knows: that it pauses, or cannot see what is rented.
        "controller": state["why"] if state["controller"] else None,
        "trouble": state["trouble"],
        "unknown": unknown_tasks(fleet, load_settings().tasks),
        "rent": _shown(desire.order) if desire.order and not refused else None,
        "boxes": len(boxes),
        "waiting": _waiting(backlog),
        "compared": items,
        "blocked": len(machines) + len(bad_hosts),
        "spend_today": round(spent.day, 4),
        "spend_month": round(spent.month, 4),
        "offers": [_shown(each) for each in candidates[:most]],
    }


def _compare(situation: Situation, items: dict[str, int]) -> list[Estimate]:
    """All offers for this work."""
    return estimates(
        situation.offers(),
        items,
        1.0,
        situation.settings,
        situation.speeds,
        situation.scale,
        situation.hosts(),
    )


def _waiting(backlog: Backlog) -> list[dict[str, Any]]:
    return [
        {"task": each.task, "ready": each.ready, "coming": each.coming, "deadline": each.deadline}
        for each in sorted(backlog.waiting, key=lambda each: (each.deadline, each.task))
    ]


def _shown(estimate: Estimate) -> dict[str, Any]:
    offer = estimate.offer
    return {
        "offer": offer.id,
        "gpu": offer.gpu,
        "region": offer.region,
        "host": offer.host,
        "price": round(estimate.price, 4),
        "reliability": offer.reliability,
        "speedup": round(estimate.speedup, 1),
        "measured": estimate.measured,
        "start_seconds": round(estimate.start.seconds),
        "work_seconds": round(estimate.work),
        "dollars": round(estimate.dollars, 4),
        "per_1000": round(estimate.per_thousand, 4),
    }
