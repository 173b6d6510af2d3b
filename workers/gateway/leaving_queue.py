"""A queue as a stand-in sees it: jobs that must stay at home are passed over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, ClassVar

from redis import Redis
from redis.exceptions import WatchError
from rq.exceptions import DequeueTimeout, StopRequested
from rq.intermediate_queue import IntermediateQueue

from mediaflow.queues.jobs import AllowedQueue
from mediaflow.queues.lineage import is_at_home
from mediaflow.queues.refused import ID, refuse

# Redis has no wait for "the first that is not …": it is asked again after so many seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.3
PAGE = 200


class LeavingQueue(AllowedQueue):
    """An RQ queue that hands out only what may leave, until it is told to stop."""

    stopping: ClassVar[Callable[[], bool]]

    @classmethod
    def passes(cls, id: str) -> bool:
        """Whether a job may be taken here."""
        return not is_at_home(id)

    @classmethod
    def lmove(cls, connection: Redis, queue_key: str, timeout: int | None) -> Any:
        """The next id that may leave, which now stands in the intermediate list.

        Raises RQ's DequeueTimeout when none comes within `timeout` seconds, StopRequested when told to stop.
        """
        deadline = time.monotonic() + (timeout or 0)
        pause = FIRST_PAUSE
        while not cls.stopping():
            if id := _take(connection, queue_key, cls.passes):
                return queue_key, id
            if time.monotonic() > deadline:
                raise DequeueTimeout(timeout, queue_key)
            # Differing by chance: many wait at one queue.
            time.sleep(pause * random.uniform(0.7, 1.3))
            pause = min(pause * 1.5, LONGEST_PAUSE)
        raise StopRequested


def _take(connection: Redis, queue_key: str, passes: Callable[[str], bool]) -> bytes | None:
    """Move the first id that passes to the intermediate list, out of others' reach; None if none does."""
    intermediate = IntermediateQueue(queue_key, connection).key
    with connection.pipeline() as pipeline:
        while True:
            try:
                pipeline.watch(queue_key)
                id = _first(connection, pipeline, queue_key, passes)
                if id is None:
                    return None
                pipeline.multi()
                pipeline.lrem(queue_key, 1, id)  # type: ignore[arg-type]
                pipeline.rpush(intermediate, id)
                pipeline.execute()
            except WatchError:
                continue
            return id


def _first(connection: Redis, pipeline: Any, queue_key: str, passes: Callable[[str], bool]) -> bytes | None:
    start = 0
    while page := pipeline.lrange(queue_key, start, start + PAGE - 1):
        for id in page:
            if not ID.fullmatch(id.decode("latin-1")):
                refuse(connection, id, "its id has characters that no id has here")
            elif passes(id.decode()):
                return bytes(id)
        start += PAGE
    return None
