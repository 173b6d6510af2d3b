"""`python -m workers QUEUE [PARENT]`: one worker for one queue, until it is told to stop.

PARENT is the pid of the process without which it is to stop too.
"""

from __future__ import annotations

import logging
import signal
import sys
import time

from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import StopRequested

from mediaflow.errors import MediaflowError, UnreachableError, UsageError
from mediaflow.lifeline import end_with_parent
from mediaflow.privacy import keep_private
from mediaflow.queues.connection import connect, explain
from mediaflow.queues.recovery import bury_predecessors, reclaim
from mediaflow.settings import all_queues

log = logging.getLogger("mediaflow.worker")

# A Procfile starts everything at once: the queue takes a moment to be there.
QUEUE_SECONDS = 20
LONGEST_PAUSE = 5.0
# More than RQ lets the queue wait for a job (`dequeue_timeout`), or an answer that is late is taken for none.
ANSWER_SECONDS = 25.0


def main(queue: str) -> int:
    """Run a worker for `queue`; returns the exit status."""
    keep_private()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # RQ tells of every job twice; the queue's own figures are in `mediaflow status`.
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    try:
        if queue not in all_queues():
            raise UsageError(f"There is no queue {queue!r}. Queues are: {', '.join(all_queues())}.")
        connection = connect(QUEUE_SECONDS, ANSWER_SECONDS)
    except MediaflowError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    _serve(queue, connection)
    return 0


def _serve(queue: str, connection: Redis) -> None:
    """Work until told to stop; a queue that goes away is waited for, however long, with the models warm."""
    from workers.bench import WorkerBench
    from workers.worker import WarmWorker

    bench = WorkerBench(queue, connection)
    pause = 0.5
    try:
        while True:
            worker = WarmWorker(queue, bench)
            started = time.monotonic()
            try:
                bury_predecessors(bench.connection)
                reclaim(bench.connection, [queue])
                worker.work(logging_level="WARNING")
            except (RedisError, UnreachableError) as error:
                log.warning("The queue is away: %s", explain(error))
            if worker.told:
                return
            pause = 0.5 if time.monotonic() - started > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
            bench.connection = _wait_for_queue(bench.connection, pause)
    except StopRequested:  # told while it waited
        return
    finally:
        bench.watch.stop()


def _wait_for_queue(connection: Redis, pause: float) -> Redis:
    """A connection to a queue that answers again; its address may be another."""
    connection.close()
    while True:
        time.sleep(pause)
        try:
            return connect(answer_seconds=ANSWER_SECONDS)
        except UnreachableError as error:
            log.warning("Waiting: %s", error)
            pause = min(pause * 2, LONGEST_PAUSE)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        end_with_parent(signal.SIGTERM, int(sys.argv[2]))
    sys.exit(main(sys.argv[1]))
