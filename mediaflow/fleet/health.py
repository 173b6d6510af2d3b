"""Health: the rules by which a box is no good any more, and whether its host is to blame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mediaflow.fleet.ledger import Box
from mediaflow.fleet.market import Instance
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.speeds import Speeds

# Loading may take so many times as long as a box in which nothing changes is waited for.
LOADING_TIMES = 2.0
# A box that works says something every few seconds: it is given up after this part of the time after which
# it would end itself.
SILENT_PART = 0.2
DRAINING_SECONDS = 300.0
# A box is slow when it does less than this part of what its GPU does elsewhere, looked at for so long.
SLOW, SLOW_SECONDS = 0.35, 600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a box must end. `strike`: its host is left alone for a while."""

    reason: str
    strike: bool = True


def verdict(
    box: Box,
    instance: Instance | None,
    unchanged: float,
    now: float,
    settings: FleetSettings,
    audible: float = float("-inf"),
) -> Verdict | None:
    """What is wrong with a box that is wanted; None where nothing is.

    `instance` is what the market says of it, the same for `unchanged` seconds; None where it was not listed.
    `audible` is since when boxes can be heard here without a break; infinity: not now.
    """
    if instance is not None and instance.state in ("exited", "offline"):
        # Without a gateway it ends itself, as it should.
        return Verdict(f"{instance.state}: {instance.said}".rstrip(": "), strike=audible <= now)
    if instance is not None and instance.state == "stopped":
        return Verdict("outbid, or stopped by the market", strike=False)
    if box.trouble:
        return Verdict(f"it is not well: {box.trouble}")
    if now >= box.expires:
        return Verdict("it has lived as long as a box may", strike=False)
    stuck = settings.stuck_minutes * 60
    if box.hello is None:
        return _of_a_start(box, unchanged, now, stuck, audible)
    silent = silence(box, now)
    if now - audible > silence_limit(settings) < silent:
        return Verdict(f"it has said nothing for {silent:.0f} s")
    if silent > settings.silence_minutes * 60:
        return Verdict("it has heard nothing for so long that it has ended itself", strike=False)
    # A box that was idle has its first item for less time than this.
    since = max(box.worked or 0.0, box.hello, audible)
    if box.state == "working" and box.in_hand and now - since > stuck:
        return Verdict(f"it has work in hand and no result for {settings.stuck_minutes:g} minutes")
    return None


def silence(box: Box, now: float) -> float:
    """Seconds since a box that has said hello was heard of."""
    return now - max(box.seen or 0.0, box.hello or 0.0)


def silence_limit(settings: FleetSettings) -> float:
    """Seconds after which a box that says nothing is given up."""
    return settings.silence_minutes * 60 * SILENT_PART


def _of_a_start(box: Box, unchanged: float, now: float, stuck: float, audible: float) -> Verdict | None:
    if box.contract is None:
        return None  # an order whose answer is not known
    if box.running is not None:
        # It may have called all the time while nobody could hear it.
        heard = now - max(audible, box.running) > stuck / 2
        if now - box.running > (stuck if heard else 2 * stuck):
            return Verdict("it runs and has not said hello", strike=heard)
        return None
    if now - box.intended > stuck * LOADING_TIMES:
        return Verdict("it did not load")
    if unchanged > stuck:
        return Verdict("it is stuck loading")
    return None


@dataclass(slots=True)
class Pace:
    """How fast boxes work, looked at again and again while they have items in hand."""

    _seen: dict[str, tuple[float, int, float]] = field(default_factory=dict)
    _busy: dict[str, tuple[float, int]] = field(default_factory=dict)

    def look(self, box: Box, mix: Mapping[str, int], speeds: Speeds, now: float) -> Verdict | None:
        """Whether a box is far slower than its GPU at this mix of items by task."""
        before, self._seen[box.label] = self._seen.get(box.label), (now, box.done, float(box.in_hand))
        if before is None or not before[2] or not box.in_hand or not mix:
            return None
        seconds, done = self._busy.get(box.label, (0.0, 0))
        seconds, done = seconds + now - before[0], done + box.done - before[1]
        self._busy[box.label] = (seconds, done)
        if seconds < SLOW_SECONDS or not speeds.is_measured(box.gpu, mix):
            return None
        self._busy[box.label] = (0.0, 0)
        # The mix may hide that it got the slow kind of items only.
        slowest = min(speeds.rate(box.gpu, task) for task in mix)
        expected = min(sum(mix.values()) / speeds.seconds(box.gpu, mix), slowest * len(mix))
        if done / seconds < SLOW * expected:
            return Verdict(f"it does {done / seconds:.1f} items a second, its GPU elsewhere {expected:.1f}")
        return None

    def forget(self, label: str) -> None:
        """A box has ended."""
        self._seen.pop(label, None)
        self._busy.pop(label, None)
