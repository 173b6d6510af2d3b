"""Batches: the items of one job on the desk of a box, and the answers that came for them."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.gateway.desk import Desk

Item = dict[str, Any]
Result = dict[str, Any]


@dataclass(slots=True, eq=False)
class Piece:
    """One item on the desk. Once the box has it, `allowance` is how many bytes its answer may have.

    `parts` is how many pictures, or texts, it is made of: no more vectors of one space are believed. `put` is
    when it was laid on the desk, `given` when the box had it first, `weight` how much work it is
    (jobs/weight.py).
    """

    id: str
    task: str
    model: str
    item: Item
    batch: Batch
    index: int
    put: float
    allowance: int = 0
    parts: int = 0
    given: float | None = None
    fetched: int = 0
    weight: float = 1.0


class Batch:
    """The items of one job: who put them there waits here for the answers. Close it when done with."""

    def __init__(self, desk: Desk, lock: Any) -> None:
        self.outstanding = 0
        self._desk = desk
        self._changed = Condition(lock)
        self._answers: list[tuple[int, Result]] = []

    def wait(self, seconds: float) -> list[tuple[int, Result]]:
        """The answers (index, result) that are there within `seconds`; none when the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._answers or not self.outstanding, seconds)
            answers, self._answers = self._answers, []
        return answers

    def over(self) -> bool:
        """Whether no more answers will come: all were taken, or the desk gives back what is left."""
        with self._changed:
            return not self._answers and not self.outstanding

    def close(self) -> None:
        """Take from the desk what was not answered."""
        self._desk.withdraw(self)

    def lose(self, items: int, *answers: tuple[int, Result]) -> None:
        """So many items are not on the desk any more, for which these are the answers."""
        with self._changed:
            self.outstanding -= items
            self._answers += answers
            self._changed.notify_all()
