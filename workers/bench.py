"""What a worker gives to the stage it runs: somebody who does the work, its connection, and patience."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from redis import Redis
from redis.exceptions import RedisError

from mediaflow.errors import CatalogError, StorageError, UnreachableError
from mediaflow.queues.connection import explain
from mediaflow.settings import load_settings
from workers.watch import Item, Limits, Results, Watch

log = logging.getLogger("mediaflow.worker")

# What passes by itself or when a person helps, and says nothing about any file.
AWAY = (RedisError, UnreachableError, StorageError, CatalogError)
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0

T = TypeVar("T")


class WarmBench:
    """What a stage needs of the worker that runs it (see `jobs.bench.Bench`), all but who does the work.

    `tick` is called about twice a second while the stage waits, `stopping` says that the worker is to
    stop, `trouble` hears what the worker waits for, and an empty text when it waits no more, `left` what
    arguments the rest of the job has.
    """

    def __init__(self, connection: Redis) -> None:
        self.connection = connection
        self.job = ""
        self.tick: Callable[[], None] = lambda: None
        self.stopping: Callable[[], bool] = lambda: False
        self.trouble: Callable[[str], None] = lambda _: None
        self.left: Callable[[Sequence[Any]], None] = lambda _: None

    def work(self, items: Sequence[Item]) -> Results:
        """Results by index as they come; ends early when the worker is to stop."""
        raise NotImplementedError

    def wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.stopping():
            time.sleep(0.2)
            self.tick()
        return not self.stopping()

    def keep(self, arguments: Sequence[Any]) -> None:
        self.left(arguments)

    def patiently(self, action: Callable[[], T]) -> T:
        pause, waited = FIRST_PAUSE, False
        while True:
            try:
                result = action()
            except AWAY as error:
                log.warning("Waiting: %s", explain(error))
                self.trouble(explain(error))
                waited = True
                # Differing by chance: those who waited for the same do not all come back at once.
                if not self.wait(pause * random.uniform(0.5, 1.5)):
                    raise
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            if waited:
                self.trouble("")
            return result


class WorkerBench(WarmBench):
    """The bench of a worker whose child does the work."""

    def __init__(self, queue: str, connection: Redis) -> None:
        super().__init__(connection)
        settings = load_settings()
        limits = settings.tasks.get(queue, settings.prepare)
        threads = settings.tasks[queue].threads if queue in settings.tasks else 1
        self.watch = Watch(
            queue,
            Limits(limits.seconds, limits.memory_mb),
            threads,
            lambda: self.tick(),
            lambda: self.stopping(),
        )

    def work(self, items: Sequence[Item]) -> Results:
        return self.watch.work(items)
