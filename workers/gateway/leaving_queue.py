"""A queue as a stand-in sees it: jobs that must stay at home are passed over."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from threading import Lock
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
# A whole queue is looked through so often; between that only what is new in it.
WHOLE_SECONDS = 10.0


class LeavingQueue(AllowedQueue):
    """An RQ queue that hands out only what may leave, until it is told to stop."""

    stopping: ClassVar[Callable[[], bool]]
    look: ClassVar[Look]

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
            if id := cls.look.take(connection, queue_key, cls.passes):
                return queue_key, id
            if time.monotonic() > deadline:
                raise DequeueTimeout(timeout, queue_key)
            # Differing by chance: many wait at one queue.
            time.sleep(pause * random.uniform(0.7, 1.3))
            pause = min(pause * 1.5, LONGEST_PAUSE)
        raise StopRequested


class Look:
    """Looks into one queue for jobs that pass, for all who look for the same.

    It remembers what it has seen: jobs come at the ends of a queue, so that those between two which are known
    need not be read again. Now and then all is looked through, should a known one have been moved.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._known: set[bytes] = set()  # these do not pass
        self._ready: deque[bytes] = deque()
        self._looked = float("-inf")

    def take(self, connection: Redis, queue_key: str, passes: Callable[[str], bool]) -> bytes | None:
        """Move the first id that passes to the intermediate list, out of others' reach; None if none does."""
        with self._lock:
            if not self._ready:
                self._look(connection, queue_key, passes)
            while self._ready:
                id = self._ready.popleft()
                if passes(id.decode()) and _move(connection, queue_key, id):
                    return id
        return None

    def _look(self, connection: Redis, queue_key: str, passes: Callable[[str], bool]) -> None:
        ids = None if self._clock() - self._looked > WHOLE_SECONDS else self._news(connection, queue_key)
        if ids is None:
            self._known, self._looked = set(), self._clock()
            ids = connection.lrange(queue_key, 0, -1)  # type: ignore[assignment]
        for id in ids or ():
            if not ID.fullmatch(id.decode("latin-1")):
                refuse(connection, id, "its id has characters that no id has here")
            elif passes(id.decode()):
                self._ready.append(id)
            else:
                self._known.add(id)

    def _news(self, connection: Redis, queue_key: str) -> list[bytes] | None:
        """The ids at both ends that are not known; None where that does not tell of all between them."""
        head: list[bytes] = connection.lrange(queue_key, 0, PAGE - 1)  # type: ignore[assignment]
        known = [at for at, id in enumerate(head) if id in self._known]
        if not known:
            return None if len(head) == PAGE else head
        tail: list[bytes] = connection.lrange(queue_key, -PAGE, -1)  # type: ignore[assignment]
        last = max((at for at, id in enumerate(tail) if id in self._known), default=None)
        return None if last is None else list(dict.fromkeys(head[: known[0]] + tail[last + 1 :]))


def _move(connection: Redis, queue_key: str, id: bytes) -> bool:
    """Move an id to the intermediate list; False where somebody else has taken it."""
    intermediate = IntermediateQueue(queue_key, connection).key
    with connection.pipeline() as pipeline:
        while True:
            try:
                pipeline.watch(queue_key)
                if pipeline.lpos(queue_key, id.decode()) is None:
                    return False
                pipeline.multi()
                pipeline.lrem(queue_key, 1, id)  # type: ignore[arg-type]
                pipeline.rpush(intermediate, id)
                pipeline.execute()
            except WatchError:
                continue
            return True
