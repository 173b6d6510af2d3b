"""Jobs: the only functions that may be enqueued, and how they are put into a queue and read again.

Everything on the wire is JSON. A job that names a function or a callback that is not on the list, or
whose record or arguments break the rules, is refused when it is read, so that nobody who can write
to Redis can run code here, or stop those who do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import rq.registry
import rq.serializers
from redis import Redis
from redis.exceptions import RedisError, ResponseError, WatchError
from rq import Queue, Retry
from rq.exceptions import NoSuchJobError
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from mediaflow.errors import UnreachableError
from mediaflow.queues import arguments, record
from mediaflow.queues.arguments import ANALYSE, PREPARE, STORE
from mediaflow.queues.connection import explain
from mediaflow.queues.refused import ID, RefusedJob, is_of_another_type, refuse

__all__ = ["ANALYSE", "PREPARE", "STORE", "AllowedJob", "AllowedQueue", "NewJob", "RefusedJob"]

# RQ falls back to pickle wherever a serializer is not handed on (registry cleaning, workers that
# are listed, rq-dashboard's retry), and reading pickle means running whatever it names.
for name in ("PickleSerializer", "DefaultSerializer"):
    setattr(rq.serializers, name, JSONSerializer)
rq.serializers.SERIALIZER_ALIASES["pickle"] = JSONSerializer

# How long a finished job can be looked at, and a failed one. The ledger is in the catalog.
KEEP_FINISHED = 600
KEEP_FAILED = 7 * 24 * 3600


class AllowedJob(Job):
    """An RQ job that runs only functions on the list, and never a callback.

    A worker puts its stage functions into `functions`. A stage returns None when all is done, or
    the arguments of what is left when the worker is to stop: the job goes back to the front.
    """

    functions: ClassVar[dict[str, Callable[..., Sequence[Any] | None]]] = {}

    @classmethod
    def fetch(cls, id: str, connection: Redis | None = None, serializer: Any = None) -> Job:
        """Read a job. Raises RefusedJob, which is a NoSuchJobError, where it breaks the rules."""
        assert connection is not None
        if not ID.fullmatch(id):
            cls._refuse_id(connection, id, "its id has characters that no id has here")
        try:
            return super().fetch(id, connection=connection, serializer=serializer)
        except ResponseError as error:
            if not is_of_another_type(error):
                raise
            cls._refuse_id(connection, id, f"its record is none ({error})")
            raise

    @classmethod
    def fetch_many(
        cls, job_ids: Iterable[str], connection: Redis, serializer: Any = None
    ) -> list[Job | None]:
        """Read jobs; None in the place of one that is not there or breaks the rules."""
        found: list[Job | None] = []
        for id in job_ids:
            try:
                found.append(cls.fetch(id, connection=connection, serializer=serializer))
            except NoSuchJobError:
                found.append(None)
        return found

    def restore(self, raw_data: dict[Any, Any]) -> None:
        """Take over what Redis has of the job. Raises RefusedJob for one that breaks the rules: it is out."""
        try:
            super().restore(record.checked(raw_data))
            arguments.check(self.origin, self.func_name, self.args, self.kwargs)
            if self.instance is not None:
                raise RefusedJob("it is a method of an object")
        except RedisError:
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, RefusedJob) else f"it cannot be read ({_said(error)})"
            self._refuse(raw_data, reason)

    def get_executions(self) -> list[Execution]:
        """The job's executions by their ids alone: what Redis says of them may have run out, or be forged."""
        ids = self.execution_registry.get_execution_ids()
        return [Execution(id, self.id, self.connection) for id in ids]

    @property
    def func(self) -> Callable[..., Any]:
        if self.func_name not in self.functions or self.instance is not None:
            raise RefusedJob(f"{self.func_name!r} is not a function that mediaflow's workers run.")
        return self.functions[self.func_name]

    @property
    def success_callback(self) -> None:
        self._no_callback(self._success_callback_name)

    @property
    def failure_callback(self) -> None:
        self._no_callback(self._failure_callback_name)

    @property
    def stopped_callback(self) -> None:
        self._no_callback(self._stopped_callback_name)

    @staticmethod
    def _no_callback(name: str | None) -> None:
        if name:
            raise RefusedJob(f"Jobs have no callbacks here, but this one names {name!r}.")

    def _refuse(self, raw: dict[bytes, bytes], reason: str) -> None:
        """Move the job out of the queues and raise RefusedJob."""
        refuse(self.connection, self.id.encode(), reason, function=record.function_of(raw), record=raw)
        raise RefusedJob(f"Job {self.id} is refused: {reason}.")

    @staticmethod
    def _refuse_id(connection: Redis, id: str, reason: str) -> None:
        refuse(connection, id.encode(errors="surrogateescape"), reason)
        raise RefusedJob(f"Job {id!r} is refused: {reason}.")

    def _execute(self) -> Any:
        left = self.func(*self.args, **self.kwargs)
        if left is None:
            return None
        self.args = left
        return Retry(max=1_000_000, enqueue_at_front=True)


class AllowedQueue(Queue):
    """An RQ queue that hands out only what can be a job of mediaflow."""

    job_class = AllowedJob

    @classmethod
    def lmove(cls, connection: Redis, queue_key: str, timeout: int | None) -> Any:
        """The next id, which now stands in the intermediate list; what cannot be an id is refused."""
        while taken := super().lmove(connection, queue_key, timeout):
            id = taken[1] if isinstance(taken[1], bytes) else taken[1].encode()
            if ID.fullmatch(id.decode("latin-1")):
                return taken
            refuse(connection, id, "its id has characters that no id has here")
        return None

    @classmethod
    def _fetch_dequeued_job(  # type: ignore[override]
        cls, connection: Redis, queue_key: str, job_id: str, **classes: Any
    ) -> tuple[Job, Queue] | None:
        found = super()._fetch_dequeued_job(connection, queue_key, job_id, **classes)
        if found is not None and found[0].origin != found[1].name:
            job, queue = found
            reason = f"it says that it is in the queue {job.origin}"
            refuse(connection, job_id.encode(), reason, function=job.func_name or "", queue=queue.name)
            return None
        return found

    def get_job_ids(self, offset: int = 0, length: int = -1) -> list[str]:
        """The ids that can be ids of jobs."""
        last = offset + length - 1 if length >= 0 else length
        ids: list[Any] = self.connection.lrange(self.key, offset, last) if length else []
        texts = (id.decode("latin-1") for id in ids)
        return [text for text in texts if ID.fullmatch(text)]

    def move_dependents_to_ready(self, job: Job, *_: Any, **__: Any) -> dict[str, list[str]]:
        """Jobs do not wait for each other here: whatever claims to is left alone."""
        return {}


# Cleaning the registry of started jobs makes a queue of its own.
setattr(rq.registry, "Queue", AllowedQueue)  # noqa: B010 - a name that the module does not export


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be enqueued: its id, its function by name, JSON-able arguments, and what a person reads.

    `at_front`: before all that waits.
    """

    id: str
    function: str
    arguments: tuple[Any, ...]
    description: str
    at_front: bool = False


def queue(name: str, connection: Redis) -> AllowedQueue:
    """The RQ queue called `name`, with JSON and the allow-list."""
    return AllowedQueue(
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
            at_front=job.at_front,
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
