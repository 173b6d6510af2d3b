"""The account that the tasks keep of every analysis: what was done again, and the way back after a kill."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """One analysis begun or ended. `when` is of the monotonic clock, `worker` and `child` are pids."""

    when: float
    what: str
    task: str
    asset: str
    worker: int
    child: int


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed, and whether nothing else was amiss for a while after."""

    when: float
    pid: int
    role: str


@dataclass(slots=True)
class Account:
    """All lines, in order."""

    lines: list[Line] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Account:
        try:
            rows = [row.split() for row in path.read_text().splitlines()]
        except FileNotFoundError:
            return cls()
        return cls([Line(float(row[0]), row[1], row[2], row[3], int(row[4]), int(row[5])) for row in rows])

    def begun(self) -> Counter[tuple[str, str]]:
        """How often each (task, asset) was begun."""
        return Counter((line.task, line.asset) for line in self.lines if line.what == "begin")

    def in_hand(self, worker: int) -> set[tuple[str, str]]:
        """What a worker's child has begun and not ended."""
        hand: set[tuple[str, str]] = set()
        for line in self.lines:
            if line.worker == worker:
                (hand.add if line.what == "begin" else hand.discard)((line.task, line.asset))
        return hand

    def back_after(self, kill: Kill) -> float | None:
        """Seconds from a kill until the file that the worker had in hand is worked on again.

        None when it had none in hand, or nobody took it up (as when it vanished meanwhile).
        """
        before = Account([line for line in self.lines if line.when <= kill.when])
        # A file that killed an earlier child of this worker was begun and never ended too.
        last = {
            (line.task, line.asset): line
            for line in before.lines
            if line.worker == kill.pid and line.what == "begin"
        }
        newest = max(
            (line.child for line in last.values()), default=0, key=lambda child: _last_of(before, child)
        )
        hand = {what for what in before.in_hand(kill.pid) if last[what].child == newest}
        again = [
            line.when for line in self.lines
            if line.when > kill.when and line.what == "begin" and (line.task, line.asset) in hand
        ]  # fmt: skip
        return min(again) - kill.when if again else None


def _last_of(account: Account, child: int) -> float:
    return max((line.when for line in account.lines if line.child == child), default=0.0)
