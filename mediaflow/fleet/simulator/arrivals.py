"""What a person submits in a month: nightly batches, imports, one burst, and weeks in which nothing comes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

DAY = 86400.0
HOUR = 3600.0
# Monday, 2026-06-01, 00:00 UTC.
MONTH_START = 1_780_272_000.0

# Kinds of files, and what one of them is for each stage: 1 is a photo, for `transcribe` a minute of sound.
UNITS: Mapping[str, Mapping[str, float]] = {
    "photo": {"prepare": 1, "embed": 1, "ocr": 1, "nsfw": 1},
    "scan": {"prepare": 1.5, "embed": 1, "ocr": 2, "nsfw": 1},
    "video": {"prepare": 20, "embed": 15, "ocr": 15, "nsfw": 15, "transcribe": 1},
    "recording": {"prepare": 3, "transcribe": 8},
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One submit: how many files of each kind."""

    at: float
    what: str
    kinds: Mapping[str, int]

    @property
    def files(self) -> int:
        """All its files."""
        return sum(self.kinds.values())

    def items(self, stage: str) -> int:
        """How many of its files a stage gets."""
        return sum(count for kind, count in self.kinds.items() if stage in UNITS[kind])

    def units(self, stage: str) -> float:
        """How much work that is for the stage."""
        return sum(count * UNITS[kind].get(stage, 0) for kind, count in self.kinds.items())


def month(seed: int, days: int, start: float = MONTH_START) -> list[Arrival]:
    """The submits of so many days, in their order.

    A cron job submits every night what came that day; there are more photos and videos at weekends, and
    sometimes a stack of scans. Phones and old disks are imported at daytime. Once in a month comes a burst of
    tens of thousands of files. For one or two stretches of days nobody is there.
    """
    random = Random(f"arrivals {seed}")
    idle = _idle_days(random, days)
    found = [night for day in range(days) if day not in idle and (night := _night(random, day, start))]
    for _ in range(_times(random, days * 2.5 / 30)):
        day = random.randrange(days)
        if day not in idle:
            found.append(_import(random, start + day * DAY + random.uniform(9, 22) * HOUR))
    for _ in range(max(1, round(days / 30))):
        day = random.randrange(days)
        found.append(_burst(random, start + day * DAY + random.uniform(8, 21) * HOUR))
    return sorted(found, key=lambda arrival: arrival.at)


def _idle_days(random: Random, days: int) -> set[int]:
    idle: set[int] = set()
    for _ in range(max(1, round(days / 20))):
        first = random.randrange(days)
        idle |= set(range(first, first + random.randint(4, 8)))
    return idle


def _night(random: Random, day: int, start: float) -> Arrival | None:
    weekend = int(start // DAY + day + 3) % 7 in (5, 6)  # 1970-01-01 was a Thursday
    files = _about(random, 6000 if weekend else 2500, 0.7)
    video = random.uniform(0.03, 0.09) if weekend else random.uniform(0.005, 0.03)
    kinds = {
        "photo": int(files * 0.85),
        "scan": int(files * 0.15),
        "video": int(files * video),
        "recording": _times(random, 12),
    }
    what = "weekend" if weekend else "night"
    if random.random() < 0.2:
        kinds["scan"] += _about(random, 9000, 0.4)
        what += " with scans"
    if random.random() < 0.1:
        kinds["recording"] += _about(random, 400, 0.5)
        what += " with recordings"
    return Arrival(start + day * DAY + 2.25 * HOUR, what, kinds)


def _import(random: Random, at: float) -> Arrival:
    files = _about(random, 14_000, 0.4)
    kinds = {"photo": files, "video": int(files * random.uniform(0.04, 0.1)), "recording": _times(random, 30)}
    return Arrival(at, "import", kinds)


def _burst(random: Random, at: float) -> Arrival:
    files = _about(random, 45_000, 0.25)
    kinds = {
        "photo": int(files * 0.8),
        "scan": int(files * 0.2),
        "video": int(files * random.uniform(0.03, 0.06)),
        "recording": _about(random, 300, 0.4),
    }
    return Arrival(at, "burst", kinds)


def _about(random: Random, usual: float, spread: float) -> int:
    return int(random.lognormvariate(math.log(usual), spread))


def _times(random: Random, mean: float) -> int:
    """A Poisson number, for small means."""
    count, product, limit = 0, random.random(), math.exp(-mean)
    while product > limit:
        count, product = count + 1, product * random.random()
    return count
