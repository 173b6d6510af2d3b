"""A stand-in: a worker in a thread of the gateway whose work a box does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from threading import Event, Thread

from redis import Redis
from rq import Queue
from rq.executions import Execution
from rq.job import Job

from mediaflow.errors import MediaflowError
from mediaflow.queues.connection import connect
from mediaflow.queues.lineage import may_go_to
from workers.bench import WarmBench
from workers.gateway.desk import Desk
from workers.gateway.leaving_queue import LeavingQueue
from workers.lives import ANSWER_SECONDS, serve
from workers.watch import Item, Results
from workers.worker import WarmWorker

log = logging.getLogger("mediaflow.gateway")

TICK_SECONDS = 0.5


class BoxBench(WarmBench):
    """The bench of a stand-in: items go to the desk of its box, results come from there."""

    def __init__(self, desk: Desk, task: str, connection: Redis) -> None:
        super().__init__(connection)
        self.model = ""
        self._desk, self._task = desk, task

    def work(self, items: Sequence[Item]) -> Results:
        """Yield (index, result) as the box answers; ends early when the box goes or drains, or if told to."""
        with closing(self._desk.put(self._task, self.model, items)) as batch:
            while not self.stopping():
                yield from batch.wait(TICK_SECONDS)
                if batch.over():
                    return
                self.tick()


class StandInWorker(WarmWorker):
    """RQ's worker in a thread: nobody sends it signals; it ends when its box gets no more work."""

    def __init__(self, task: str, bench: BoxBench, desk: Desk, stop: Event, seat: str) -> None:
        self._stop, self._desk, self._task = stop, desk, task
        self.queue_class = self._queue_class()
        super().__init__(task, bench, seat)
        # What a box that drains has in its hands is waited for, though no more is taken.
        bench.stopping = lambda: stop.is_set() or desk.closed
        self._box_bench = bench

    def is_told(self) -> bool:
        return self._stop.is_set() or not self._desk.open or not self._desk.is_asked_for(self._task)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        self._box_bench.model = job.args[2]
        return super().perform_job(job, queue, execution)

    def _install_signal_handlers(self) -> None:
        """Signals come to the process, which tells its threads."""

    def _queue_class(self) -> type[LeavingQueue]:
        box = self._desk.label

        class QueueOfBox(LeavingQueue):
            stopping = staticmethod(self.is_told)
            look = self._desk.look(self._task)

            @classmethod
            def passes(cls, id: str) -> bool:
                return may_go_to(id, box)

        return QueueOfBox


class StandIn:
    """One hand of a box for one task's queue."""

    def __init__(self, desk: Desk, task: str, number: int) -> None:
        self.task = task
        self._stop = Event()
        self._desk, self._seat = desk, f"{desk.label}-{number}-"
        self._thread = Thread(target=self._serve, name=f"{desk.label}.{task}.{number}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have it end, giving back the job it has."""
        self._stop.set()

    def runs(self) -> bool:
        return self._thread.is_alive()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _serve(self) -> None:
        try:
            connection = connect(answer_seconds=ANSWER_SECONDS)
        except MediaflowError as error:  # the gateway starts another
            log.warning("%s: %s", self._thread.name, error)
            return
        bench = BoxBench(self._desk, self.task, connection)
        serve(bench, lambda: StandInWorker(self.task, bench, self._desk, self._stop, self._seat))
        bench.connection.close()
