"""What is alive in the queues, and taking back what dead workers had in their hands."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterable

from redis import Redis
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.registry import StartedJobRegistry
from rq.worker import BaseWorker, Worker

from mediaflow.lifeline import runs
from mediaflow.queues.jobs import AllowedJob, queue
from mediaflow.queues.sweep import sweep

STORE_MARK = "-store-"


def store_id(parent: str) -> str:
    """A fresh id for a job that stores what job `parent` found: `live_jobs` counts it as its parent."""
    return f"{parent}{STORE_MARK}{uuid.uuid4().hex[:8]}"


def live_jobs(connection: Redis, names: Iterable[str]) -> set[str]:
    """The ids of the jobs that wait or run in these queues, and of those whose findings wait to be stored."""
    ids: set[str] = set()
    for name in names:
        waiting = queue(name, connection)
        started = StartedJobRegistry(queue=waiting, job_class=AllowedJob)
        # In the order in which a job passes them, so that one on its way is not missed.
        ids.update(waiting.get_job_ids())
        ids.update(IntermediateQueue(waiting.key, connection).get_job_ids())
        ids.update(started.get_job_ids(cleanup=False))
        ids.update(waiting.scheduled_job_registry.get_job_ids(cleanup=False))
    return {id.split(STORE_MARK)[0] for id in ids}


def reclaim(connection: Redis, names: Iterable[str]) -> int:
    """Put jobs of workers that are no more back to the front of their queues; returns how many.

    A worker is no more when its heartbeat has run out, or when it was a process of this machine
    that does not exist any more. RQ would find out too, after minutes.
    """
    names = list(names)
    sweep(connection, names)
    alive = {worker.name for worker in Worker.all(connection=connection) if lives(worker)}
    return sum(_reclaim_in(connection, name, alive) for name in names)


def _reclaim_in(connection: Redis, name: str, alive: set[str]) -> int:
    into = queue(name, connection)
    started = StartedJobRegistry(queue=into, job_class=AllowedJob)
    intermediate = IntermediateQueue(into.key, connection)
    served = any(worker.split(".")[0] == name for worker in alive)
    count = 0
    for id in {*started.get_job_ids(cleanup=False), *intermediate.get_job_ids()}:
        job = into.fetch_job(id)
        if job is None:
            intermediate.remove(id)
            continue
        status = job.get_status()
        if status == JobStatus.STARTED and job.worker_name in alive:
            continue
        # A living worker may just be taking it; if not, RQ's own maintenance finds out in minutes.
        if status == JobStatus.QUEUED and served:
            continue
        if status in (JobStatus.STARTED, JobStatus.QUEUED):
            _put_back(connection, into, job)
            count += 1
    return count


def _put_back(connection: Redis, into: Queue, job: Job) -> None:
    started = StartedJobRegistry(queue=into, job_class=AllowedJob)
    with connection.pipeline() as pipeline:
        started.remove_executions(job, pipeline=pipeline)
        pipeline.lrem(IntermediateQueue(into.key, connection).key, 1, job.id)
        pipeline.lrem(into.key, 1, job.id)
        into._enqueue_job(job, pipeline=pipeline, at_front=True)  # noqa: SLF001 - the public way takes no pipeline
        pipeline.execute()


def lives(worker: BaseWorker) -> bool:
    """Whether a worker that Redis lists is still there: it lists the dead until their heartbeat runs out."""
    if worker.hostname != socket.gethostname() or not worker.pid:
        return True  # its heartbeat has not run out, or Redis would not list it
    return runs(worker.pid)
