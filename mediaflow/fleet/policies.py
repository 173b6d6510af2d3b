"""Policies: from what waits, how fast it goes, and what is offered, to the boxes that are wanted, and why.

`by_deadline` is the one that is used; the others are what it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mediaflow.fleet.backlog import HOUR, Backlog
from mediaflow.fleet.cost import Estimate, Scale, estimates, guessed_start, seconds_here
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.market import Offer
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.speeds import HERE, Speeds

# This machine would be late when its work, longer by a part and some seconds, does not fit in the time ...
LATE, LATE_SLACK = 1.03, 300.0
# ... and is in time again when it fits, longer by this: then boxes go.
IN_TIME, IN_TIME_SLACK = 1.06, 600.0
# Boxes that are planned are to manage so much more than they must, those that are there only so much more.
SPARE, SPARE_THERE = 1.15, 1.05
# A box is ordered so long before it would be too late, or would need more boxes or more money: it may fail
# and be replaced. Not sooner: the later it is, the better it is known what this machine does not manage. But
# offers go: of those that are there now half are rented by others within about so many hours.
DEARER = 1.01
OFFER_HOURS = 12.0
REPLACEMENT_PART, REPLACEMENT_LEAST, REPLACEMENT_MOST = 0.15, 1200.0, 3600.0
# What is late already should be done in this time.
LATE_SECONDS = HOUR
# Of a backlog, for the policy that counts items only.
ITEMS_OF_A_BOX = 5000


@dataclass(frozen=True, slots=True)
class Situation:
    """What a policy decides by.

    `boxes` are those that load or work, `offers` fetches what can be rented (and fits), `resumes` is when
    this machine begins to work on what may leave (in the past where it does so now), `audible` since when
    boxes can be heard here without a break (infinity: not now).
    """

    now: float
    backlog: Backlog
    settings: FleetSettings
    speeds: Speeds
    boxes: Sequence[Box]
    offers: Callable[[], Sequence[Offer]]
    resumes: float = 0.0
    scale: Scale = field(default_factory=Scale)
    audible: float = float("-inf")

    def left(self, deadline: float) -> float:
        """Seconds that this machine can work until a deadline."""
        return max(0.0, deadline - max(self.now, self.resumes))

    def lacking(self, deadline: float, margin: float, slack: float) -> float:
        """Seconds of this machine's work, longer by a part and a slack, that do not fit before a deadline."""
        items = self.backlog.until(deadline)
        tasks = self.speeds.seconds(HERE, items)
        whole = seconds_here(items, self.backlog.unprepared(deadline), self.speeds)
        return max(0.0, min(tasks, whole * margin + slack - self.left(deadline)))

    def hosts(self) -> set[int]:
        """The hosts that have a box of ours."""
        return {box.host for box in self.boxes}


@dataclass(frozen=True, slots=True)
class Desire:
    """What is wanted: at most one order at a time, boxes that may go, and why (a sentence for people)."""

    why: str
    order: Estimate | None = None
    release: Sequence[str] = ()
    # The candidates that were compared, for `fleet plan`.
    candidates: Sequence[Estimate] = ()


Policy = Callable[[Situation], Desire]


def by_deadline(situation: Situation) -> Desire:
    """Rent when this machine alone would be late, as little as is needed; let go as soon as it would not."""
    deadlines = situation.backlog.deadlines()
    labels = [box.label for box in situation.boxes]
    if not deadlines:
        return Desire("Nothing waits.", release=idle(situation))
    if not any(situation.lacking(deadline, IN_TIME, IN_TIME_SLACK) for deadline in deadlines):
        return Desire("This machine does the rest in time.", release=labels)
    lacking = {deadline: situation.lacking(deadline, LATE, LATE_SLACK) for deadline in deadlines}
    if not any(lacking.values()):
        there = f"{_boxes(len(labels))} will be done soon." if labels else "This machine does it in time."
        return Desire(there, release=idle(situation))
    if situation.boxes and _suffices(situation, lacking, SPARE_THERE):
        return Desire(f"{_boxes(len(labels))} will be done in time.", release=idle(situation))
    plan = _plan(situation, lacking)
    if plan is None:
        return Desire("More is needed, and no offer fits.", release=idle(situation))
    late = f"This machine alone would be {_hours(max(lacking.values()))} late"
    if not situation.boxes and not _is_due(situation, lacking):
        then = _plan(situation, lacking, _replacement(situation))
        if then is not None and _is_early(situation, lacking, plan, then):
            there_is = f"there is time to order {_boxes(len(plan.boxes)).lower()} yet"
            return Desire(f"{late}; {there_is}.", candidates=plan.candidates)
    return Desire(f"{late}.", plan.boxes[0], idle(situation), plan.candidates)


def cheapest_offer(situation: Situation) -> Desire:
    """When this machine would be late, at once whatever costs least an hour, until nothing waits."""
    lacking = {
        deadline: situation.lacking(deadline, LATE, LATE_SLACK) for deadline in situation.backlog.deadlines()
    }
    if not any(lacking.values()) or (situation.boxes and _suffices(situation, lacking, SPARE_THERE)):
        return Desire("Nothing more is needed.", release=idle(situation))
    candidates = _compare(situation, situation.backlog.until(max(lacking)), 1.0)
    cheapest = min(candidates, key=lambda each: (each.price, each.offer.id), default=None)
    return Desire("This machine alone would be late.", cheapest, idle(situation), candidates)


def always_on(situation: Situation) -> Desire:
    """One box at all times."""
    if situation.boxes:
        return Desire("One box is always on.")
    items = situation.backlog.total() or {"embed": 1000}
    candidates = _compare(situation, items, 1.0)
    return Desire("One box is always on.", candidates[0] if candidates else None, (), candidates)


def box_per_backlog(situation: Situation) -> Desire:
    """A box at once for every ITEMS_OF_A_BOX items that wait, until nothing does."""
    waiting = sum(situation.backlog.total().values())
    wanted = math.ceil(waiting / ITEMS_OF_A_BOX)
    why = f"{waiting:,} items wait."
    if len(situation.boxes) >= wanted or not waiting:
        return Desire(why, release=idle(situation) if not waiting else ())
    candidates = _compare(situation, situation.backlog.total(), 1.0)
    return Desire(why, candidates[0] if candidates else None, (), candidates)


POLICIES: Mapping[str, Policy] = {
    "deadline": by_deadline,
    "always-on": always_on,
    "cheapest-offer": cheapest_offer,
    "box-per-backlog": box_per_backlog,
}


def idle(situation: Situation) -> list[str]:
    """The boxes that work and have had nothing to do for longer than the settings allow."""
    limit = situation.now - situation.settings.idle_minutes * 60
    return [
        box.label
        for box in situation.boxes
        if box.state == "working"
        and box.in_hand == 0
        # One that still fetches its models has nothing to do either, and is not idle.
        and box.ready is not None
        and max(box.worked or 0.0, box.ready, situation.audible) < limit
    ]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Boxes to rent and what they cost; whether they are `enough`, and what was compared."""

    boxes: Sequence[Estimate]
    dollars: float
    enough: bool
    candidates: Sequence[Estimate]


def _plan(situation: Situation, lacking: Mapping[float, float], later: float = 0.0) -> _Plan | None:
    """The cheapest boxes that do in time what is lacking when they are ordered `later` seconds from now.

    Several cheap boxes may cost less than the one that is fast enough. None where there is no offer.
    """
    items = situation.backlog.until(max(lacking))
    whole = situation.speeds.seconds(HERE, items)
    part = max(lacking.values()) / whole if whole else 1.0
    candidates = _compare(situation, items, part)
    best: _Plan | None = None
    room = max(1, situation.settings.caps.boxes - len(situation.boxes))
    for count in range(1, room + 1):
        shares = candidates if count == 1 else _compare(situation, items, part / count)
        for first in range(len(shares) - count + 1):
            boxes = shares[first : first + count]
            dollars = sum(each.dollars for each in boxes)
            if best is not None and dollars >= best.dollars:
                break
            if _suffices(situation, lacking, SPARE, boxes, later):
                best = _Plan(boxes, dollars, True, candidates)
                break
    if best is None and candidates:
        fastest = sorted(candidates, key=lambda each: -each.speedup)[:room]
        return _Plan(fastest, sum(each.dollars for each in fastest), False, candidates)
    return best


def _is_early(situation: Situation, lacking: Mapping[float, float], plan: _Plan, then: _Plan) -> bool:
    """Whether to wait: the plan would do later too, and losing the offer costs less than waiting saves."""
    if not then.enough or len(then.boxes) > len(plan.boxes) or then.dollars > plan.dollars * DEARER:
        return False
    best = plan.boxes[0]
    others = [each for each in plan.candidates if each.dollars >= best.dollars and each is not best]
    if not others:
        return False
    waits = min(
        deadline - situation.now - seconds * SPARE / max(best.speedup, 1e-9)
        for deadline, seconds in lacking.items()
        if seconds > 0
    )
    lost = (others[0].dollars - best.dollars) * min(1.0, max(0.0, waits) / HOUR / 2 / OFFER_HOURS)
    needless = (IN_TIME - 1) * max(0.0, waits) + IN_TIME_SLACK
    return lost <= needless / max(best.speedup, 1e-9) * best.price / HOUR


def _compare(situation: Situation, items: Mapping[str, int], part: float) -> list[Estimate]:
    return estimates(
        situation.offers(),
        items,
        min(1.0, part),
        situation.settings,
        situation.speeds,
        situation.scale,
        situation.hosts(),
    )


def _suffices(
    situation: Situation,
    lacking: Mapping[float, float],
    spare: float,
    more: Sequence[Estimate] = (),
    later: float = 0.0,
) -> bool:
    """Whether the boxes, and `more` ordered `later` seconds from now, do what is lacking in time."""
    for deadline, seconds in lacking.items():
        items = situation.backlog.until(deadline)
        due = max(deadline, situation.now + LATE_SECONDS)
        done = 0.0
        for box in situation.boxes:
            start = _still_starting(situation, box)
            done += situation.speeds.speedup(box.gpu, items) * max(0.0, due - situation.now - start)
        for each in more:
            start = each.start.seconds + later
            done += situation.speeds.speedup(each.offer.gpu, items) * max(0.0, due - situation.now - start)
        if done < seconds * spare:
            return False
    return True


def _is_due(situation: Situation, lacking: Mapping[float, float]) -> bool:
    """Whether something that this machine will not do in time is due so soon that waiting is no choice."""
    soon = situation.now + _replacement(situation)
    return any(seconds > 0 and deadline <= soon for deadline, seconds in lacking.items())


def _replacement(situation: Situation) -> float:
    """Seconds that it takes to find that a box is no good and to replace it."""
    part = situation.settings.deadline_hours * HOUR * REPLACEMENT_PART
    return min(REPLACEMENT_MOST, max(REPLACEMENT_LEAST, part))


def _still_starting(situation: Situation, box: Box) -> float:
    """Seconds until a box is expected to work."""
    if box.hello is not None:
        return 0.0
    start = guessed_start(600, situation.scale)
    since = situation.now - (box.running or box.intended)
    return max(60.0, (start.warm if box.running else start.seconds) - since)


def _boxes(count: int) -> str:
    return "One box" if count == 1 else f"{count} boxes"


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR:.1f} h" if seconds >= HOUR else f"{seconds / 60:.0f} min"
