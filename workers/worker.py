"""The worker: RQ's own loop around a child that stays warm and is watched.

The worker process loads no model and opens no original, so nothing native can take it down. It
serves one queue, sends heartbeats while its child works, and gives back what is left of a job when
it is told to stop. See docs/architecture.md, "The worker and its child".
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from types import FrameType
from typing import Any

from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue, worker_registration
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.worker import SimpleWorker

from jobs import stages
from mediaflow.catalog.database import connect as open_catalog
from mediaflow.catalog.database import transaction
from mediaflow.catalog.failures import give_up
from mediaflow.errors import MediaflowError
from mediaflow.queues.jobs import ANALYSE, PREPARE, STORE, AllowedJob, AllowedQueue
from mediaflow.queues.recovery import new_life
from mediaflow.queues.sweep import sweep
from workers.bench import AWAY, WarmBench

log = logging.getLogger("mediaflow.worker")

HEARTBEAT_SECONDS = 15
Stage = Callable[..., Sequence[Any] | None]


class NoDeathPenalty(BaseDeathPenalty):
    """Jobs have no time limit of RQ's: files have one each, and the child is what is killed."""

    def setup_death_penalty(self) -> None: ...

    def cancel_death_penalty(self) -> None: ...


class WarmWorker(SimpleWorker):
    """An RQ worker for one queue whose jobs' items go to whom its bench has for them: a child process, a box.

    `seat` tells those apart that share a process and a queue. It ends when it is told to (`told`), or when
    RQ gives up because of its connection: then another takes over the bench.
    """

    death_penalty_class = NoDeathPenalty
    queue_class = AllowedQueue
    max_connection_wait_time = 5.0

    def __init__(self, queue: str, bench: WarmBench, seat: str = "") -> None:
        place = f"{queue}.{socket.gethostname()}.{os.getpid()}.{seat}"
        super().__init__(
            [queue],
            name=new_life(place),
            connection=bench.connection,
            job_class=self._job_class(bench),
            serializer=JSONSerializer,
            job_monitoring_interval=HEARTBEAT_SECONDS,
            worker_ttl=30,
            maintenance_interval=60,
        )
        self.told = False
        self.push_exc_handler(_list_failure)
        self._running: tuple[Job, Execution] | None = None
        self._last_beat = 0.0
        self._bench = bench
        bench.tick, bench.stopping = self._tick, self.is_told
        bench.trouble, bench.left = self._show_trouble, self._keep

    def _job_class(self, bench: WarmBench) -> type[AllowedJob]:
        """Jobs that run the stages at this worker's bench: a process may have several workers."""
        stages_here: dict[str, Stage] = {
            PREPARE: partial(_run, stages.prepare, bench),
            ANALYSE: partial(_run, stages.analyse, bench),
            STORE: partial(_run, stages.store, bench),
        }

        class JobHere(AllowedJob):
            functions = stages_here

        return JobHere

    def is_told(self) -> bool:
        """Whether it is to end."""
        return self.told

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

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        super().heartbeat(timeout, pipeline)
        # A queue that was away for long, or was emptied, has forgotten who this is.
        connection = self.connection if pipeline is None else pipeline
        connection.hset(self.key, mapping=self.serialize())
        worker_registration.register(self, pipeline)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.told = True
        super().request_stop(signum, frame)

    def subscribe(self) -> None:
        """RQ listens to orders (stop, shut down) from whoever can write to Redis. This worker does not."""

    def _finalize_success(self, job: Job, queue: Queue, execution: Execution, return_value: Any) -> None:
        # RQ takes a Redis that is away at this moment for a failure of the job.
        finalize = super()._finalize_success
        self._bench.patiently(lambda: finalize(job, queue, execution, return_value))

    def _finalize_failure(self, job: Job, queue: Queue, execution: Execution, exc_info: Any) -> None:
        # What only was away when the worker was told to stop is no failure: the job is taken back from it.
        if isinstance(exc_info[1], AWAY):
            raise exc_info[1]
        finalize = super()._finalize_failure
        self._bench.patiently(lambda: finalize(job, queue, execution, exc_info))

    def _tick(self) -> None:
        """Called about twice a second while the child works."""
        if self._running is None or time.monotonic() - self._last_beat < HEARTBEAT_SECONDS:
            return
        self._last_beat = time.monotonic()
        try:
            self.maintain_heartbeats(*self._running)
        except RedisError as error:
            log.warning("No heartbeat could be sent (%s); the next is in %s s.", error, HEARTBEAT_SECONDS)

    def _keep(self, arguments: Sequence[Any]) -> None:
        assert self._running is not None
        job = self._running[0]
        job.args = list(arguments)
        with contextlib.suppress(RedisError):  # more is done again than need be, and nothing lost
            self.connection.hset(job.key, "data", zlib.compress(job.data))

    def _show_trouble(self, trouble: str) -> None:
        with contextlib.suppress(RedisError):  # else its log has it
            self.connection.hset(self.key, "trouble", trouble)


def _run(stage: Stage, bench: WarmBench, *arguments: Any) -> Sequence[Any] | None:
    """Run a stage, again and again while something that it needs is away: all of it may happen twice."""
    try:
        return bench.patiently(lambda: stage(bench, *arguments))
    except AWAY:
        if not bench.stopping():
            raise
        return arguments


def _list_failure(job: Job, kind: type[Exception], error: Exception, *_: object) -> bool:
    """RQ's handler of exceptions: a job that fails for good is listed, so that nobody waits for it."""
    if not job.retries_left:
        reason = str(error) if isinstance(error, MediaflowError) else f"{kind.__name__}: {error}"
        with closing(open_catalog()) as db, transaction(db):
            give_up(db, job.id, reason)
    return True
