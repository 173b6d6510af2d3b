"""The work of the simulated month: runs, their files from stage to stage, and who does how much of it.

Files flow: a stage has done a part of them, not this one or that one. The queues are first in, first out, as
RQ's are; who serves several of them divides its time among those that are not empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mediaflow.fleet.simulator.arrivals import Arrival

# Seconds of all of this machine for a unit of work; `prepare` is done nowhere else. A photo takes 1.1 s.
HOME_SECONDS = {"prepare": 0.12, "embed": 0.13, "ocr": 0.75, "nsfw": 0.09, "transcribe": 2.7}
# What is sent to a box for a unit of work.
UNIT_GB = {"embed": 0.0001, "ocr": 0.0004, "nsfw": 0.0001, "transcribe": 0.0012}
TASKS = tuple(UNIT_GB)
SMALL = 1e-6
# A worker that yields by one more (`nice`) gets so much of the time of the one before it, by the kernel's
# weights; each next task of `fallback.priority` yields by so much more.
NICE, YIELDING, MOST_YIELDING = 0.8, 4, 16


@dataclass(slots=True)
class Run:
    """A submit and what is left of it, in units of work; `ready` is what of that is prepared."""

    arrival: Arrival
    deadline: float
    unprepared: float
    left: dict[str, float]
    ready: dict[str, float]
    total: dict[str, float]  # of each task, all its units
    finished: float | None = None

    def items(self, stage: str, units: float) -> float:
        """Files for so many units of a stage."""
        total = self.arrival.units(stage)
        return units / total * self.arrival.items(stage) if total else 0.0


@dataclass(slots=True)
class Done:
    """What somebody has done in a step: by task seconds and items, and by run and task units."""

    seconds: dict[str, float] = field(default_factory=dict)
    items: dict[str, float] = field(default_factory=dict)
    units: dict[tuple[int, str], float] = field(default_factory=dict)

    @property
    def gigabytes(self) -> float:
        """What was sent for it."""
        return sum(units * UNIT_GB[task] for (_, task), units in self.units.items())


def home_weights(priority: Sequence[str]) -> dict[str, float]:
    """How this machine's workers share its time: `prepare` yields to nobody, tasks by their priority."""
    return {task: NICE ** min(MOST_YIELDING, place * YIELDING) for place, task in enumerate(priority)}


class Work:
    """All runs and their queues."""

    def __init__(self, deadline_hours: float) -> None:
        self.runs: list[Run] = []
        self._open: list[int] = []
        self._deadline = deadline_hours * 3600

    def submit(self, arrival: Arrival) -> None:
        """A run begins."""
        left = {task: arrival.units(task) for task in TASKS}
        ready = dict.fromkeys(TASKS, 0.0)
        run = Run(
            arrival, arrival.at + self._deadline, arrival.units("prepare"), dict(left), ready, total=left
        )
        self._open.append(len(self.runs))
        self.runs.append(run)

    @property
    def open(self) -> list[Run]:
        """The runs that are not finished, oldest first."""
        return [self.runs[number] for number in self._open]

    def serve(
        self,
        seconds: float,
        cost: Mapping[str, float],
        stages: Iterable[str],
        weight: Mapping[str, float] | None = None,
    ) -> Done:
        """Somebody whose unit of a stage takes `cost` seconds serves the queues for so long.

        `weight` is the part of the time that a stage gets beside the others, equal if it is not said.
        """
        weight = weight or {}
        done = Done()
        waiting = [stage for stage in stages if self._next(stage) is not None]
        while waiting and seconds > SMALL:
            slice_ = seconds / sum(weight.get(stage, 1.0) for stage in waiting)
            for stage in list(waiting):
                share = slice_ * weight.get(stage, 1.0)
                used = self._take(stage, share, cost[stage], done)
                seconds -= used
                if used < share - SMALL:
                    waiting.remove(stage)
        return done

    def give_back(self, units: Mapping[tuple[int, str], float]) -> None:
        """What somebody has done is not true: it must be done again."""
        for (number, task), amount in units.items():
            run = self.runs[number]
            run.left[task] += amount
            run.ready[task] += amount
            run.finished = None
            if number not in self._open:
                self._open = sorted([*self._open, number])

    def settle(self, now: float) -> None:
        """Runs of which nothing is left are finished."""
        for number in list(self._open):
            run = self.runs[number]
            if run.unprepared <= SMALL and all(left <= 1e-3 for left in run.left.values()):
                run.finished = now
                self._open.remove(number)

    def _next(self, stage: str) -> int | None:
        """The oldest run that has something for a stage."""
        for number in self._open:
            run = self.runs[number]
            if (run.unprepared if stage == "prepare" else run.ready[stage]) > SMALL:
                return number
        return None

    def _take(self, stage: str, seconds: float, cost: float, done: Done) -> float:
        """Do as much of a stage as these seconds allow; the seconds used."""
        used = 0.0
        while used < seconds - SMALL and (number := self._next(stage)) is not None:
            run = self.runs[number]
            waits = run.unprepared if stage == "prepare" else run.ready[stage]
            units = min(waits, (seconds - used) / cost)
            used += units * cost
            done.seconds[stage] = done.seconds.get(stage, 0) + units * cost
            if stage == "prepare":
                part = units / run.arrival.units("prepare")
                run.unprepared -= units
                for task, total in run.total.items():
                    run.ready[task] += part * total
            else:
                run.ready[stage] -= units
                run.left[stage] -= units
                done.units[number, stage] = done.units.get((number, stage), 0) + units
            done.items[stage] = done.items.get(stage, 0) + run.items(stage, units)
        return used
