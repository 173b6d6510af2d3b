"""What is alive in the queues, and taking back what dead workers had in their hands."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable

from redis import Redis
from rq.intermediate_queue import IntermediateQueue
from rq.job import JobStatus
from rq.registry import StartedJobRegistry
from rq.worker import Worker

from mediaflow.queues.jobs import AllowedJob, queue

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
        ids.update(waiting.get_job_ids())
        ids.update(started.get_job_ids(cleanup=False))
        ids.update(IntermediateQueue(waiting.key, connection).get_job_ids())
        ids.update(waiting.scheduled_job_registry.get_job_ids(cleanup=False))
    return {id.split(STORE_MARK)[0] for id in ids}


def reclaim(connection: Redis, names: Iterable[str]) -> int:
    """Put jobs of workers that are no more back to the front of their queues; returns how many.

    A worker is no more when its heartbeat has run out, or when it was a process of this machine
    that does not exist any more. RQ would find out too, after minutes.
    """
    alive = {worker.name for worker in Worker.all(connection=connection) if _lives(worker)}
    count = 0
    for name in names:
        into = queue(name, connection)
        started = StartedJobRegistry(queue=into, job_class=AllowedJob)
        stranded = set(started.get_job_ids(cleanup=False))
        intermediate = IntermediateQueue(into.key, connection)
        waiting_workers = any(_lives_on(worker, name) for worker in alive)
        if not waiting_workers:
            # Nobody is between taking a job and saying so: what lies here was taken by the dead.
            stranded.update(intermediate.get_job_ids())
        for id in stranded:
            job = into.fetch_job(id)
            if job is None or job.worker_name in alive:
                continue
            if job.get_status() not in (JobStatus.STARTED, JobStatus.QUEUED):
                continue
            with connection.pipeline() as pipeline:
                started.remove_executions(job, pipeline=pipeline)
                pipeline.lrem(intermediate.key, 1, id)
                pipeline.lrem(into.key, 1, id)
                into._enqueue_job(job, pipeline=pipeline, at_front=True)
                pipeline.execute()
            count += 1
    return count


def _lives(worker: Worker) -> bool:
    if worker.hostname != socket.gethostname() or not worker.pid:
        return True  # its heartbeat has not run out, or Redis would not list it
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _lives_on(worker_name: str, queue_name: str) -> bool:
    return worker_name.split(".")[0] == queue_name
