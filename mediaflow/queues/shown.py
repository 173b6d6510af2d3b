"""Queues, jobs and workers as rq-dashboard shows them: looking changes nothing, whatever Redis holds."""

from __future__ import annotations

import zlib
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.registry import BaseRegistry
from rq.results import Result
from rq.worker import BaseWorker, Worker

from mediaflow.queues import record
from mediaflow.queues.jobs import AllowedJob, AllowedQueue
from mediaflow.queues.refused import RefusedJob, printable, stand_in

_EMPTY = zlib.compress(b"")


class ShownJob(AllowedJob):
    """A job to be looked at; one that breaks the rules is shown as what a worker will make of it."""

    def _refuse(self, raw: Mapping[bytes, bytes], reason: str) -> None:
        origin = printable(raw.get(b"origin", b""), 100)
        stood_in = stand_in(origin, reason, record.function_of(raw))
        Job.restore(self, {name.encode(): value for name, value in stood_in.items()})

    @staticmethod
    def _refuse_id(connection: Redis, id: str, reason: str) -> None:  # noqa: ARG004
        raise RefusedJob(f"Job {id!r} is refused: {reason}.")

    # What was checked is shown, not what may stand there by now.
    def get_meta(self, refresh: bool = True) -> dict[str, Any]:
        return self.meta

    def get_status(self, refresh: bool = True) -> JobStatus:
        return super().get_status(refresh=False)

    def latest_result(self, timeout: int = 0) -> Result | None:
        """The last result, where it can be read and is of a bearable size."""
        try:
            newest: Any = self.connection.xrevrange(Result.get_key(self.id), count=1)
            for _, payload in newest:
                record.inflated(b64decode(payload[b"exc_string"]) if b"exc_string" in payload else _EMPTY)
            return super().latest_result(timeout)
        except (RefusedJob, RedisError, ValueError, LookupError, TypeError, AttributeError):
            return None


class ShownQueue(AllowedQueue):
    """A queue to be looked at: jobs that are not there any more are not struck off."""

    job_class = ShownJob

    def fetch_job(self, job_id: str) -> Job | None:
        try:
            job = ShownJob.fetch(job_id, connection=self.connection, serializer=self.serializer)
        except NoSuchJobError:
            return None
        return job if job.origin == self.name else None


class ShownWorker(Worker):
    """A worker to be looked at: those that are not there any more are not struck off."""

    job_class = ShownJob
    queue_class = ShownQueue

    @classmethod
    def find_by_key(cls, worker_key: str, connection: Redis, **classes: Any) -> BaseWorker | None:  # type: ignore[override]
        try:
            return (
                super().find_by_key(worker_key, connection, **classes)
                if connection.exists(worker_key)
                else None
            )
        except (ValueError, RedisError):
            return None  # `mediaflow up` sweeps it away


def requeue(job_id: str, connection: Redis, serializer: Any = None) -> Job:
    """Put a failed job back into its queue, as the dashboard's button does."""
    return ShownJob.fetch(job_id, connection=connection, serializer=serializer).requeue()


def install(web: Any) -> None:
    """Have rq-dashboard's module `web` look through these classes."""
    web.Job, web.Queue, web.Worker, web.requeue_job = ShownJob, ShownQueue, ShownWorker, requeue
    setattr(BaseRegistry, "parse_job_id", staticmethod(_id))  # noqa: B010 - an id there may be no text


def _id(entry: bytes | str) -> str:
    return entry if isinstance(entry, str) else entry.decode("utf-8", "backslashreplace")
