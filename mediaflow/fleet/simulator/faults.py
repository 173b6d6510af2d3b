"""What goes wrong on the market, each by name: by chance with a seed, or a given number of times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from mediaflow.errors import UsageError


@dataclass(frozen=True, slots=True)
class Fault:
    """`rate`: the usual chance for each call, order or box; `episodes`: hours between two, minutes of one."""

    what: str
    rate: float = 0.0
    episodes: tuple[float, float] | None = None


FAULTS = {
    "late": Fault("an order is carried out, and its answer does not come in time", 0.02),
    "twice": Fault("an order is carried out twice, and answered once", 0.005),
    "gone": Fault("an offer is taken by somebody else between search and order", 0.03),
    "stuck": Fault("a box loads and loads", 0.03),
    "exited": Fault("a box's container ends by itself", 0.02),
    "offline": Fault("a box's host is not there any more", 0.02),
    "outbid": Fault("a box is stopped, because somebody bids more"),
    "slow": Fault("a box works at a fifth of its speed", 0.02),
    "silent": Fault("a box runs, costs, and says nothing", 0.01),
    "wrong": Fault("what a box finds is not true", 0.01),
    "skew": Fault("a box's clock is hours wrong", 0.01),
    "empty": Fault("the list of boxes is empty", 0.003),
    "stale": Fault("the list of boxes is two minutes old", 0.01),
    "429": Fault("too many requests, whoever made them", 0.005),
    "5xx": Fault("the market's gateway answers with an error", 0.005),
    "outage": Fault("the market answers nothing but errors for a while", episodes=(240, 20)),
    "credit": Fault("the account has no money for a while", episodes=(480, 60)),
}
SLOWNESS = 0.2
STALENESS = 120.0


class Faults:
    """Which faults happen: `usual` ones by chance, `forced` ones on the first so many occasions."""

    def __init__(self, seed: int, *, usual: bool = False, forced: Mapping[str, int] | None = None) -> None:
        self._usual = usual
        self._left = dict(forced or {})
        self._random = {name: Random(f"fault {seed} {name}") for name in FAULTS}
        self._episodes: dict[str, list[tuple[float, float]]] = {}

    def strikes(self, name: str) -> bool:
        """Whether a fault happens on this occasion."""
        if self._left.get(name, 0) > 0:
            self._left[name] -= 1
            return True
        rate = FAULTS[name].rate
        return self._usual and rate > 0 and self._random[name].random() < rate

    def strikes_soon(self, name: str) -> float | None:
        """For a box: after how many seconds of running the fault happens to it; None: never.

        A forced one comes at once, one by chance at any time within the first hour.
        """
        forced = self._left.get(name, 0) > 0
        if not self.strikes(name):
            return None
        return 0.0 if forced else self._random[name].uniform(60, 3600)

    def lasts(self, name: str, now: float, start: float) -> bool:
        """Whether an episode is going on, in a market that began at `start`; each forced one is one call."""
        if self._left.get(name, 0) > 0:
            return self.strikes(name)
        episodes = FAULTS[name].episodes
        if not self._usual or episodes is None:
            return False
        known = self._episodes.setdefault(name, [])
        while not known or known[-1][1] < now:
            begin = (known[-1][1] if known else start) + self._random[name].expovariate(
                1 / (episodes[0] * 3600)
            )
            known.append((begin, begin + self._random[name].expovariate(1 / (episodes[1] * 60))))
        return any(begin <= now < end for begin, end in known[-2:])


def read_faults(words: Sequence[str]) -> tuple[bool, dict[str, int]]:
    """`usual`, `none`, and NAME or NAME=TIMES, of the command line. Raises UsageError for an unknown name."""
    forced: dict[str, int] = {}
    for word in words:
        name, _, times = word.partition("=")
        if word in ("usual", "none"):
            continue
        if name not in FAULTS or (times and not times.isdecimal()):
            raise UsageError(
                f"There is no fault {word!r}: usual, none, or NAME[=TIMES] of {', '.join(FAULTS)}."
            )
        forced[name] = int(times or 1)
    return "usual" in words, forced
