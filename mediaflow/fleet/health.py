"""Health: the rules by which a box is no good any more, and whether its host is to blame."""

from __future__ import annotations

from dataclasses import dataclass, field

from mediaflow.fleet.ledger import Box
from mediaflow.fleet.market import Instance
from mediaflow.fleet.settings import FleetSettings

# Loading, and then fetching the models, may take so many times as long as a box in which nothing changes is
# waited for.
LOADING_TIMES = 2.0
# A box that works says something every few seconds: it is given up after this part of the time after which
# it would end itself.
SILENT_PART = 0.2
DRAINING_SECONDS = 300.0
# Any GPU does something of weight 1 (a picture, 20 seconds of sound) within so many seconds. The weight is
# known here: of a box's progress nobody need believe a word.
LONGEST_SECONDS = 1.0
# A box is slow when it does less than this part of what its GPU does elsewhere, looked at for so long. The
# next one that is slow soon after is none: then the files are not like those before.
SLOW, SLOW_SECONDS = 0.35, 600.0
SLOW_AGAIN_SECONDS = 6 * 3600.0


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
    if box.state != "working":
        return None
    if box.ready is None:
        if now - max(box.hello, audible) > stuck * LOADING_TIMES:
            return Verdict(
                f"its models were not there {settings.stuck_minutes * LOADING_TIMES:g} minutes later"
            )
        return None
    # A box that was idle has its first item for less time than this.
    patience = stuck + box.heaviest * LONGEST_SECONDS
    if box.in_hand and now - max(box.worked or 0.0, box.ready, audible) > patience:
        return Verdict(f"it has work in hand and no result for {patience / 60:.0f} minutes")
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
    """How fast boxes work beside what their GPUs usually do, looked at again and again."""

    _since: dict[str, tuple[float, float]] = field(default_factory=dict)
    _slow: float = float("-inf")

    def look(self, box: Box, now: float) -> Verdict | None:
        """Whether a box took far longer for what it did than its GPU usually does for that weight."""
        busy, worth = self._since.setdefault(box.label, (box.busy, box.worth))
        busy, worth = box.busy - busy, box.worth - worth
        if busy < SLOW_SECONDS:
            return None
        self._since[box.label] = (box.busy, box.worth)
        if worth >= SLOW * busy or now - self._slow < SLOW_AGAIN_SECONDS:
            return None
        self._slow = now
        return Verdict(f"its work took {busy / 60:.0f} min, and its GPU usually {worth / 60:.1f} min")

    def forget(self, label: str) -> None:
        """A box has ended."""
        self._since.pop(label, None)
