"""`python -m workers QUEUE [PARENT]`: one worker for one queue, until it is told to stop.

PARENT is the pid of the process without which it is to stop too.
"""

from __future__ import annotations

import logging
import signal
import sys

from mediaflow.errors import MediaflowError, UsageError
from mediaflow.lifeline import end_with_parent
from mediaflow.privacy import keep_private
from mediaflow.queues.connection import connect
from mediaflow.settings import all_queues
from workers.lives import ANSWER_SECONDS, serve

# A Procfile starts everything at once: the queue takes a moment to be there.
QUEUE_SECONDS = 20


def main(queue: str) -> int:
    """Run a worker for `queue`; returns the exit status."""
    from workers.bench import WorkerBench
    from workers.home_worker import HomeWorker

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
    bench = WorkerBench(queue, connection)
    try:
        serve(bench, lambda: HomeWorker(queue, bench))
    finally:
        bench.watch.stop()
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 2:
        end_with_parent(signal.SIGTERM, int(sys.argv[2]))
    sys.exit(main(sys.argv[1]))
