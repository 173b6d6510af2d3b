"""Live progress: what is done and open in each queue, how fast, and how long it will take."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mediaflow.catalog import work
from mediaflow.catalog.locations import Scope
from mediaflow.cli.output import console, duration, note

if TYPE_CHECKING:
    from rich.table import Table

TICK_SECONDS = 0.5
LINE_SECONDS = 15
WINDOW_SECONDS = 30
NOTHING_TO_DO = "Nothing to do."


@dataclass(frozen=True, slots=True)
class QueueProgress:
    """One queue: files or assets done since the start, still open, and done per second lately."""

    name: str
    done: int
    open: int
    rate: float

    def left(self) -> str:
        """The time left at the present rate, in words."""
        if not self.open:
            return ""
        return duration(self.open / self.rate) if self.rate else "…"


@dataclass(slots=True)
class Meter:
    """Reads progress from the catalog, which is the truth, and keeps what rates need."""

    db: sqlite3.Connection
    scopes: list[Scope]
    since: float
    _seen: deque[tuple[float, dict[str, int]]] = field(default_factory=deque)

    def read(self) -> list[QueueProgress]:
        """The queues that have something done or open, in the order of a file's way."""
        now = time.monotonic()
        done = work.settled_since(self.db, self.since)
        open_: Counter[str] = Counter()
        for scope in self.scopes:
            open_.update(work.open_tasks(self.db, scope))
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_SECONDS:
            self._seen.popleft()
        names = sorted(set(done) | set(open_), key=lambda name: (name != "prepare", name))
        return [QueueProgress(n, done.get(n, 0), open_.get(n, 0), self._rate(n)) for n in names]

    def _rate(self, name: str) -> float:
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after.get(name, 0) - before.get(name, 0)) / (end - start) if end > start else 0.0


def follow(meter: Meter, finished: Callable[[list[QueueProgress]], bool]) -> None:
    """Show progress until `finished`: a live table on a terminal, else a line now and then."""
    if sys.stderr.isatty():
        _follow_live(meter, finished)
    else:
        _follow_lines(meter, finished)


def _follow_live(meter: Meter, finished: Callable[[list[QueueProgress]], bool]) -> None:
    from rich.live import Live

    with Live(console=console(error=True), auto_refresh=False, transient=True) as live:
        while True:
            started = time.monotonic()
            queues = meter.read()
            live.update(_table(queues), refresh=True)
            if finished(queues):
                return
            _pause(started)


def _follow_lines(meter: Meter, finished: Callable[[list[QueueProgress]], bool]) -> None:
    said = time.monotonic()
    while True:
        started = time.monotonic()
        queues = meter.read()
        if finished(queues):
            return
        if started - said > LINE_SECONDS:
            said = started
            counts = [f"{queue.name} {queue.done}/{queue.done + queue.open}" for queue in queues]
            note("; ".join(counts) or NOTHING_TO_DO)
        _pause(started)


def _pause(started: float) -> None:
    # A large catalog takes a while to count: looking must not cost what the workers need.
    time.sleep(max(TICK_SECONDS, 5 * (time.monotonic() - started)))


def _table(queues: list[QueueProgress]) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    if not queues:
        table.add_row(NOTHING_TO_DO)
    for queue in queues:
        total = queue.done + queue.open
        rate = f"{queue.rate:.1f}/s" if queue.rate else ""
        bar = ProgressBar(total=max(total, 1), completed=queue.done, width=24)
        table.add_row(queue.name, bar, f"{queue.done:,}/{total:,}", rate, queue.left())
    return table
