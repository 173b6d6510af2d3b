"""Policies: from what waits, how fast it goes, and what is offered, to the boxes that are wanted, and why.

`by_deadline` is the one that is used; the others are what it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mediaflow.fleet.backlog import HOUR, Backlog
from mediaflow.fleet.cost import TAIL_SECONDS, Estimate, Scale, estimates, guessed_start, seconds_here
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.market import Offer
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.speeds import HERE, Speeds

# This machine would be late when its work, longer by a part and some seconds, does not fit into the time left ...
LATE, LATE_SLACK = 1.03, 300.0
# ... and is in time again when it fits, longer by this: then boxes go.
IN_TIME, IN_TIME_SLACK = 1.06, 600.0
# Boxes that are planned are to manage so much more than they must, those that are there only so much more.
SPARE, SPARE_THERE = 1.25, 1.05
# A box is ordered so long before it would be too late: it may fail and be replaced. Not sooner: the later it
# is, the better it is known what this machine does not manage.
REPLACEMENT_PART, REPLACEMENT_LEAST, REPLACEMENT_MOST = 0.15, 1200.0, 3600.0
# What is late already should be done in this time.
LATE_SECONDS = HOUR
# Of a backlog, for the policy that counts items only.
ITEMS_OF_A_BOX = 5000


@dataclass(frozen=True, slots=True)
class Situation:
    """What a policy decides by.

    `boxes` are those that load or work, `offers` fetches what can be rented (and fits), `resumes` is when
    this machine begins to work on what may leave (in the past where it does so now).
    """

    now: float
    backlog: Backlog
    settings: FleetSettings
    speeds: Speeds
    boxes: Sequence[Box]
    offers: Callable[[], Sequence[Offer]]
    resumes: float = 0.0
    scale: Scale = field(default_factory=Scale)

    def left(self, deadline: float) -> float:
        """Seconds that this machine can work until a deadline."""
        return max(0.0, deadline - max(self.now, self.resumes))

    def lacking(self, deadline: float, margin: float, slack: float) -> float:
        """Seconds of this machine's work, longer by a part and a slack, that do not fit in before a deadline."""
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
    candidates, chosen, count = _plan(situation, lacking)
    if chosen is None:
        return Desire("More is needed, and no offer fits.", release=idle(situation))
    late = f"This machine alone would be {_hours(max(lacking.values()))} late"
    if not situation.boxes and _suffices(
        situation, lacking, SPARE, [chosen] * count, _replacement(situation)
    ):
        return Desire(f"{late}; there is time to order {_boxes(count).lower()} yet.", candidates=candidates)
    return Desire(f"{late}.", chosen, idle(situation), candidates)


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
        if box.state == "working" and box.in_hand == 0 and max(box.worked or 0.0, box.hello or 0.0) < limit
    ]


def _plan(
    situation: Situation, lacking: Mapping[float, float]
) -> tuple[Sequence[Estimate], Estimate | None, int]:
    """Offers for what this machine cannot do in time, the cheapest first; the best of them, and how many such.

    Several cheap boxes may cost less than the one that is fast enough.
    """
    items = situation.backlog.until(max(lacking))
    whole = situation.speeds.seconds(HERE, items)
    part = max(lacking.values()) / whole if whole else 1.0
    first = candidates = _compare(situation, items, part)
    best: tuple[float, Estimate | None, int] = (math.inf, None, 0)
    for count in range(1, max(1, situation.settings.caps.boxes - len(situation.boxes)) + 1):
        for each in candidates:
            if each.dollars * count >= best[0]:
                break
            if _suffices(situation, lacking, SPARE, [each] * count):
                best = (each.dollars * count, each, count)
                break
        candidates = _compare(situation, items, part / (count + 1))
    if best[1] is None and first:
        # None is enough: the fastest for their money, as many as may be.
        fastest = max(first, key=lambda each: each.speedup)
        return first, fastest, max(1, situation.settings.caps.boxes - len(situation.boxes))
    return first, best[1], best[2]


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
    """Whether the boxes, and `more` ordered `later` seconds from now, do what is lacking before each deadline."""
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
