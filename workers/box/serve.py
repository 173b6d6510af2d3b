"""One task on a box: items are taken and fetched ahead while the models work; answers go their way."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Condition, Lock, Thread
from typing import Any

from jobs.task import find_task
from mediaflow.errors import MediaflowError, ModelError, StorageError
from mediaflow.models.device import at_once
from mediaflow.settings import load_settings
from workers.box.answers import Answers
from workers.box.life import Life, Over
from workers.box.link import Link, Refused
from workers.box.renditions import Renditions, Unfetched
from workers.watch import Limits, Watch

log = logging.getLogger("mediaflow.box")

# So many seconds of work are in hand: more than a slow link takes to bring the next, and no more, because at
# the end of a run others wait for them.
AHEAD_SECONDS = 6.0
MOST_AHEAD = 1000
# Items handed to the child at once, in groups of those that go through the model together.
GROUPS = 4
# ... but no more than weighs so much: on a GPU a minute or two of work, so that results come now and then.
MOST_WEIGHT = 400.0
# A group is waited for so long before a smaller one is begun.
GATHER_SECONDS = 0.3
AGAIN_SECONDS = 30.0
# Models are loaded so often, with a pause that grows and differs by chance: memory that all children need
# while they load is there again when some of them have.
LOADS, LOAD_PAUSE_SECONDS = 3, 3.0


@dataclass(slots=True)
class Busy:
    """What the child did since it was last asked: items, and seconds in which it worked."""

    items: int = 0
    seconds: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def add(self, items: int, seconds: float) -> None:
        """So much more was done."""
        with self._lock:
            self.items += items
            self.seconds += seconds

    def take(self) -> dict[str, float]:
        """All of it, which begins anew."""
        with self._lock:
            taken: dict[str, float] = {"items": self.items, "seconds": round(self.seconds, 3)}
            self.items, self.seconds = 0, 0.0
        return taken


@dataclass(frozen=True, slots=True)
class Entry:
    """An item in hand; `asset` is what it holds of the renditions, empty for texts. See jobs/weight.py."""

    id: str
    item: dict[str, Any]
    asset: str
    weight: float


class Serving:
    """The threads of one task: one takes, several fetch, one works."""

    def __init__(
        self,
        task: str,
        link: Link,
        life: Life,
        renditions: Renditions,
        answers: Answers,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.task, self.busy = task, Busy()
        self._link, self._life, self._renditions = link, life, renditions
        self._answers, self._pool = answers, pool
        settings = load_settings()
        entry = settings.tasks[task]
        cls = find_task(task)
        self._needs = cls.needs
        self._together = at_once(settings, cls.together)
        self._least_ahead = max(entry.batch, 2 * self._together)
        self._in_hand: set[str] = set()
        self._change = Condition()
        self._ready: SimpleQueue[Entry] = SimpleQueue()
        self._rate = 0.0
        # Why the models cannot be loaded: then the task's items are for others.
        self.unable = ""
        self._watch = Watch(
            task, Limits(entry.seconds, entry.memory_mb), entry.threads, lambda: None, life.over
        )
        self._threads = [
            Thread(target=self._guarded, args=(part,), name=f"{task} {part.__name__}", daemon=True)
            for part in (self._take, self._work)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until its child has ended, once the box is over."""
        self._threads[1].join(30)
        self._watch.stop()

    def _guarded(self, part: Callable[[], None]) -> None:
        """A part that fails for a reason nobody thought of ends the box: it would only cost money."""
        try:
            part()
        except Over:
            pass
        except Exception as error:
            log.exception("The part %s of %s failed", part.__name__, self.task)
            self._life.end(f"{self.task} failed: {type(error).__name__}")

    # --- taking and fetching --------------------------------------------------------------------

    def _take(self) -> None:
        while not self._life.over():
            room = self._ahead() - len(self._in_hand)
            if self._life.draining or self.unable or room < max(1, self._least_ahead // 4):
                with self._change:
                    self._change.wait(0.25)
                continue
            try:
                taken = self._link.take(self.task, room)
            except Refused as error:
                log.warning("No items of %s: %s", self.task, error)
                self._life.wait(AGAIN_SECONDS)
                continue
            for each in taken:
                if each["id"] not in self._in_hand:  # given out anew, and here already
                    self._in_hand.add(each["id"])
                    self._pool.submit(self._bring, each)

    def _ahead(self) -> int:
        return min(MOST_AHEAD, max(self._least_ahead, int(self._rate * AHEAD_SECONDS)))

    def _bring(self, taken: dict[str, Any]) -> None:
        item, link = taken["item"], taken.get("link")
        entry = Entry(taken["id"], item, item["asset"] if link else "", float(taken["weight"]))
        try:
            if link:
                self._renditions.hold(entry.asset, self._needs, link)
        except Over:
            return
        except Exception as error:  # whatever it is, the item must not be forgotten
            if not isinstance(error, Unfetched):
                log.exception("A rendition could not be fetched")
            self._answer(replace(entry, asset=""), {"reason": str(error) or type(error).__name__})
            return
        self._ready.put(entry)

    def _let_go(self, id: str) -> None:
        with self._change:
            self._in_hand.discard(id)
            self._change.notify_all()

    # --- working --------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._life.over():
            entries = gather(self._ready, self._together)
            if not entries:
                continue
            started, done = time.monotonic(), 0
            try:
                done = self._through(entries)
            except ModelError as error:
                log.warning("No %s on this box: %s", self.task, error)
                self.unable = str(error)
            except StorageError as error:
                log.warning("%s: %s", self.task, error)
                self._life.wait(AGAIN_SECONDS)
            seconds = time.monotonic() - started
            self.busy.add(done, seconds)
            if done:
                self._rate = done / seconds if not self._rate else 0.7 * self._rate + 0.3 * done / seconds

    def _through(self, entries: list[Entry]) -> int:
        """Have the child work on them; how many it answered. The others are for somebody else to do."""
        left = list(entries)
        why = self.unable or "the box stopped before it was done"
        try:
            for load in range(0 if self.unable else LOADS):
                try:
                    self._once(left)
                    break
                except ModelError as error:
                    if load + 1 == LOADS:
                        raise
                    log.warning("The models of %s are loaded once more: %s", self.task, error)
                    self._life.wait(LOAD_PAUSE_SECONDS * 2**load * random.uniform(0.5, 1.5))
        except MediaflowError as error:
            why = str(error)
            raise
        finally:
            for entry in left:
                self._answer(entry, {"reason": why})
        return len(entries) - len(left)

    def _once(self, left: list[Entry]) -> None:
        """Have the child work on what is `left`, which is taken out as it is answered."""
        entries = list(left)
        with contextlib.closing(self._watch.work([entry.item for entry in entries])) as results:
            for index, result in results:
                left.remove(entries[index])
                self._answer(entries[index], result)

    def _answer(self, entry: Entry, result: dict[str, Any]) -> None:
        if entry.asset:
            self._renditions.release(entry.asset)
        names = ("reason",) if "reason" in result else ("data", "vectors", "seconds")
        answer = {"id": entry.id} | {name: result[name] for name in names if name in result}
        self._answers.put(answer, lambda: self._let_go(entry.id))


def gather(ready: SimpleQueue[Entry], together: int) -> list[Entry]:
    """The next items for a child that takes so many `together`.

    A few groups where so many are ready, else what comes in a moment; no more when it is too heavy.
    """
    entries: list[Entry] = []
    until = time.monotonic() + 0.5
    while len(entries) < together * GROUPS and sum(entry.weight for entry in entries) < MOST_WEIGHT:
        try:
            left = until - time.monotonic() if len(entries) < together else 0.0
            entries.append(ready.get(timeout=left) if left > 0 else ready.get_nowait())
        except Empty:
            break
        if len(entries) == 1:
            until = time.monotonic() + GATHER_SECONDS
    return entries
