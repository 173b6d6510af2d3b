"""Jobs: the only functions that may be enqueued, and how they are put into a queue.

Everything on the wire is JSON. A job that names a function or a callback that is not on the list
is refused when it is read, so that nobody who can write to Redis can run code here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import rq.serializers
from redis import Redis
from redis.exceptions import RedisError, WatchError
from rq import Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer

from mediaflow.errors import UnreachableError
from mediaflow.queues.connection import explain

# RQ falls back to pickle wherever a serializer is not handed on (registry cleaning, workers that
# are listed, rq-dashboard's retry), and reading pickle means running whatever it names.
for name in ("PickleSerializer", "DefaultSerializer"):
    setattr(rq.serializers, name, JSONSerializer)
rq.serializers.SERIALIZER_ALIASES["pickle"] = JSONSerializer

PREPARE = "jobs.stages.prepare"
ANALYSE = "jobs.stages.analyse"
STORE = "jobs.stages.store"

# How long a finished job can be looked at, and a failed one. The ledger is in the catalog.
KEEP_FINISHED = 600
KEEP_FAILED = 7 * 24 * 3600


class RefusedJob(Exception):
    """A job names something that is not on the list; RQ records it as failed."""


class AllowedJob(Job):
    """An RQ job that runs only functions on the list, and never a callback.

    A worker puts its stage functions into `functions`. A stage returns None when all is done, or
    the arguments of what is left when the worker is to stop: the job goes back to the front.
    """

    functions: ClassVar[dict[str, Callable[..., Sequence[Any] | None]]] = {}

    def restore(self, raw_data: dict[Any, Any]) -> None:
        """Read the job; the addresses that it wants to be called when it ends are not."""
        super().restore(raw_data)
        self.webhooks = []

    @property
    def func(self) -> Callable[..., Any]:
        if self.func_name not in self.functions or self.instance is not None:
            raise RefusedJob(f"{self.func_name!r} is not a function that mediaflow's workers run.")
        return self.functions[self.func_name]

    @property
    def success_callback(self) -> None:
        self._refuse(self._success_callback_name)

    @property
    def failure_callback(self) -> None:
        self._refuse(self._failure_callback_name)

    @property
    def stopped_callback(self) -> None:
        self._refuse(self._stopped_callback_name)

    @staticmethod
    def _refuse(name: str | None) -> None:
        if name:
            raise RefusedJob(f"Jobs have no callbacks here, but this one names {name!r}.")

    def _execute(self) -> Any:
        left = self.func(*self.args, **self.kwargs)
        if left is None:
            return None
        self.args = left
        return Retry(max=1_000_000, enqueue_at_front=True)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be enqueued: its id, its function by name, JSON-able arguments, and what a person reads."""

    id: str
    function: str
    arguments: tuple[Any, ...]
    description: str


def queue(name: str, connection: Redis) -> Queue:
    """The RQ queue called `name`, with JSON and the allow-list."""
    return Queue(
        name, connection=connection, serializer=JSONSerializer, job_class=AllowedJob, default_timeout=-1
    )


def enqueue(connection: Redis, name: str, jobs: Sequence[NewJob]) -> None:
    """Put jobs into the queue called `name`: all of them or none, and also after a lost answer once.

    Raises UnreachableError, saying what is wrong; then the same call may be made again.
    """
    try:
        _enqueue(connection, name, jobs)
    except RedisError as error:
        raise UnreachableError(f"The queue takes no jobs now: {explain(error)}.") from error


def _enqueue(connection: Redis, name: str, jobs: Sequence[NewJob]) -> None:
    into = queue(name, connection)
    data = [
        Queue.prepare_data(
            job.function,
            args=list(job.arguments),
            job_id=job.id,
            description=job.description,
            timeout=-1,
            result_ttl=KEEP_FINISHED,
            failure_ttl=KEEP_FAILED,
            retry=Retry(max=3),
        )
        for job in jobs
    ]
    first = Job.key_for(jobs[0].id)
    with connection.pipeline() as pipeline:
        while True:
            # Watched, so that a connection that is lost before the answer comes does not make the client
            # send all of it again, but look first.
            pipeline.watch(first)
            if pipeline.exists(first):
                return
            pipeline.multi()
            into.enqueue_many(data, pipeline=pipeline)
            try:
                pipeline.execute()
            except WatchError:
                continue
            return
