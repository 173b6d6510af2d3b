"""The worker: RQ's own loop around a child that stays warm and is watched.

The worker process loads no model and opens no original, so nothing native can take it down. It
serves one queue, sends heartbeats while its child works, and gives back what is left of a job when
it is told to stop. See docs/architecture.md, "The worker and its child".
"""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial

from redis import Redis
from redis.exceptions import RedisError
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.worker import SimpleWorker

from jobs import stages
from mediaflow.errors import MediaflowError
from mediaflow.queues.jobs import ANALYSE, PREPARE, STORE, AllowedJob, AllowedQueue
from mediaflow.queues.sweep import sweep
from mediaflow.settings import load_settings
from workers.watch import Item, Limits, Results, Watch

log = logging.getLogger("mediaflow.worker")

HEARTBEAT_SECONDS = 15


class NoDeathPenalty(BaseDeathPenalty):
    """Jobs have no time limit of RQ's: files have one each, and the child is what is killed."""

    def setup_death_penalty(self) -> None: ...

    def cancel_death_penalty(self) -> None: ...


class WorkerBench:
    """What a stage needs of the worker that runs it (see `jobs.bench.Bench`)."""

    def __init__(
        self, queue: str, connection: Redis, tick: Callable[[], None], stopping: Callable[[], bool]
    ) -> None:
        settings = load_settings()
        limits = settings.tasks.get(queue, settings.prepare)
        threads = settings.tasks[queue].threads if queue in settings.tasks else 1
        self.connection = connection
        self.job = ""
        self.watch = Watch(queue, Limits(limits.seconds, limits.memory_mb), threads, tick, stopping)

    def work(self, items: Sequence[Item]) -> Results:
        return self.watch.work(items)

    def wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.watch.stopping():
            time.sleep(0.2)
            self.watch.tick()
        return not self.watch.stopping()


class WarmWorker(SimpleWorker):
    """An RQ worker for one queue whose jobs' items go through a child process."""

    death_penalty_class = NoDeathPenalty
    queue_class = AllowedQueue
    max_connection_wait_time = 5.0

    def __init__(self, queue: str, connection: Redis) -> None:
        super().__init__(
            [queue],
            name=f"{queue}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:6]}",
            connection=connection,
            job_class=AllowedJob,
            serializer=JSONSerializer,
            job_monitoring_interval=HEARTBEAT_SECONDS,
            worker_ttl=60,
            maintenance_interval=60,
        )
        self.push_exc_handler(_list_failure)
        self._running: tuple[Job, Execution] | None = None
        self._last_beat = 0.0
        self._bench = WorkerBench(queue, connection, self._tick, lambda: self._stop_requested)
        AllowedJob.functions = {
            PREPARE: partial(stages.prepare, self._bench),
            ANALYSE: partial(stages.analyse, self._bench),
            STORE: partial(stages.store, self._bench),
        }

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        self._running, self._bench.job, self._last_beat = (job, execution), job.id, time.monotonic()
        try:
            return super().perform_job(job, queue, execution)
        finally:
            self._running = None

    def register_birth(self) -> None:
        """Enter this worker, after what stands in the way of that is out of it."""
        sweep(self.connection, self.queue_names())
        super().register_birth()

    def clean_registries(self) -> None:
        """What RQ does every minute, after what it could not read is out of its way."""
        sweep(self.connection, self.queue_names())
        super().clean_registries()

    def clean_group_registries(self) -> None:
        """Jobs are in no groups here."""

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return HEARTBEAT_SECONDS + 60

    def teardown(self) -> None:
        self._bench.watch.stop()
        super().teardown()

    def _tick(self) -> None:
        """Called about twice a second while the child works."""
        if self._running is None or time.monotonic() - self._last_beat < HEARTBEAT_SECONDS:
            return
        self._last_beat = time.monotonic()
        try:
            self.maintain_heartbeats(*self._running)
        except RedisError as error:
            log.warning("No heartbeat could be sent (%s); the next is in %s s.", error, HEARTBEAT_SECONDS)


def _list_failure(job: Job, kind: type[Exception], error: Exception, *_: object) -> bool:
    """RQ's handler of exceptions: a job that fails for good is listed, so that nobody waits for it."""
    if not job.retries_left:
        reason = str(error) if isinstance(error, MediaflowError) else f"{kind.__name__}: {error}"
        try:
            stages.give_up(job.id, reason)
        except MediaflowError as unwritten:
            log.warning("The failure of job %s could not be written down: %s", job.id, unwritten)
    return True
