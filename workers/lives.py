"""The lives of a worker: it serves until it is told to stop, and begins anew when the queue was away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import StopRequested

from mediaflow.errors import UnreachableError
from mediaflow.queues.connection import connect, explain
from mediaflow.queues.recovery import bury_predecessors, reclaim
from workers.bench import WarmBench
from workers.worker import WarmWorker

log = logging.getLogger("mediaflow.worker")

LONGEST_PAUSE = 5.0
# More than RQ lets the queue wait for a job (`dequeue_timeout`), or an answer that is late is taken for none.
ANSWER_SECONDS = 25.0


def serve(bench: WarmBench, begin: Callable[[], WarmWorker]) -> None:
    """Work until told to stop; a queue that goes away is waited for, however long, with the models warm."""
    pause = 0.5
    try:
        while True:
            worker = begin()
            started = time.monotonic()
            try:
                bury_predecessors(bench.connection, worker.name)
                reclaim(bench.connection, worker.queue_names())
                worker.work(logging_level="WARNING")
            except (RedisError, UnreachableError) as error:
                log.warning("The queue is away: %s", explain(error))
            if worker.is_told():
                return
            pause = 0.5 if time.monotonic() - started > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
            bench.connection = _wait_for_queue(bench.connection, pause, worker.is_told)
    except StopRequested:  # told while it waited
        return


def _wait_for_queue(connection: Redis, pause: float, told: Callable[[], bool]) -> Redis:
    """A connection to a queue that answers again; its address may be another. Raises StopRequested."""
    connection.close()
    while True:
        time.sleep(pause)
        if told():
            raise StopRequested
        try:
            return connect(answer_seconds=ANSWER_SECONDS)
        except UnreachableError as error:
            log.warning("Waiting: %s", error)
            pause = min(pause * 2, LONGEST_PAUSE)
