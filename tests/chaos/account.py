"""The account that the tasks keep of every analysis: what was done again, and the way back after a kill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.picture import DEEDS


@dataclass(frozen=True, slots=True)
class Line:
    """One analysis begun or ended. `when` is of the monotonic clock, `worker` and `child` are pids."""

    when: float
    what: str
    task: str
    asset: str
    deed: str
    worker: int
    child: int


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed, and what it was."""

    when: float
    pid: int
    role: str


@dataclass(frozen=True, slots=True)
class Span:
    """A fault, from when to when (of the monotonic clock)."""

    kind: str
    began: float
    ended: float


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
        return cls(
            [Line(float(row[0]), row[1], row[2], row[3], row[4], int(row[5]), int(row[6])) for row in rows]
        )

    def begun(self) -> Counter[tuple[str, str]]:
        """How often each (task, asset) was begun."""
        return Counter((line.task, line.asset) for line in self.lines if line.what == "begin")

    def in_hand(self, worker: int, until: float = float("inf")) -> set[tuple[str, str]]:
        """What a worker's newest child had begun and not ended; not what kills its child by itself."""
        mine = [line for line in self.lines if line.worker == worker and line.when <= until]
        hand: set[tuple[str, str]] = set()
        for line in mine:
            if line.child == mine[-1].child and not DEEDS[line.deed]:
                (hand.add if line.what == "begin" else hand.discard)((line.task, line.asset))
        return hand

    def back_after(self, kill: Kill) -> float | None:
        """Seconds from a kill until a file that the worker had in hand is worked on again.

        None when it had none in hand, or nobody took it up (as when it vanished meanwhile).
        """
        hand = self.in_hand(kill.pid, kill.when)
        again = [
            line.when
            for line in self.lines
            if line.when > kill.when and line.what == "begin" and (line.task, line.asset) in hand
        ]
        return min(again) - kill.when if again else None


def is_alone(kill: Kill, seconds: float, spans: Sequence[Span]) -> bool:
    """Whether no other fault fell into the time from a kill until its file was worked on again."""
    others = [span for span in spans if not span.began <= kill.when <= span.ended]
    return not any(span.began < kill.when + seconds and span.ended > kill.when for span in others)
