"""What is alive in the queues, and taking back what dead workers had in their hands."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from redis import Redis
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.registry import StartedJobRegistry
from rq.utils import as_text
from rq.worker import BaseWorker, Worker

from mediaflow.lifeline import runs
from mediaflow.queues.jobs import AllowedJob, queue
from mediaflow.queues.lineage import Live
from mediaflow.queues.sweep import sweep

# A job that so many workers took and did not live to end is given up: its files are tried one by one.
MOST_DEATHS = 3
# So long a living worker may have between taking a job and starting it.
TAKING_SECONDS = 5.0
# Characters at the end of a worker's name by which its lives differ.
LIFE = 6


def live_jobs(connection: Redis, names: Iterable[str]) -> Live:
    """The jobs that wait or run in these queues."""
    ids: set[str] = set()
    for name in names:
        waiting = queue(name, connection)
        started = StartedJobRegistry(queue=waiting, job_class=AllowedJob)
        # In the order in which a job passes them, so that one on its way is not missed.
        ids.update(waiting.get_job_ids())
        ids.update(IntermediateQueue(waiting.key, connection).get_job_ids())
        ids.update(started.get_job_ids(cleanup=False))
        ids.update(waiting.scheduled_job_registry.get_job_ids(cleanup=False))
    return Live.of(ids)


@dataclass(slots=True)
class Reclaimed:
    """The jobs of dead workers: how many wait again, and the ids of those that were given up."""

    waiting: int = 0
    given_up: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Reclaimer:
    """Puts jobs of workers that are no more back to the front of their queues.

    A worker is no more when its heartbeat has run out, or when it was a process of this machine that
    does not exist any more. RQ would find out too, after minutes. It remembers which jobs it saw taken
    and not started: one that stays so was lost on the way by a worker that goes on.
    """

    names: tuple[str, ...]
    _taken: dict[str, float] = field(default_factory=dict, init=False)

    def look(self, connection: Redis) -> Reclaimed:
        """Look once; to be called again and again."""
        sweep(connection, self.names)
        held = {name: _held(connection, name) for name in self.names}
        # After the jobs: whoever a record names was born before, and is here unless it has died.
        alive = {worker.name for worker in Worker.all(connection=connection) if lives(worker)}
        reclaimed = Reclaimed()
        taken: dict[str, float] = {}
        for name, jobs in held.items():
            for job in self._stranded(jobs, name, alive, taken):
                if _is_still_so(connection, job):
                    _put_back_or_give_up(connection, queue(name, connection), job, reclaimed)
        self._taken = taken
        return reclaimed

    def _stranded(
        self, jobs: Iterable[Job], name: str, alive: set[str], taken: dict[str, float]
    ) -> Iterable[Job]:
        served = any(worker.split(".")[0] == name for worker in alive)
        for job in jobs:
            # As the record was when it was read: what it says now may not be of the worker it named then.
            status = job.get_status(refresh=False)
            if status == JobStatus.STARTED and not _has_worker(job, alive):
                yield job
            elif status == JobStatus.QUEUED:
                taken[job.id] = self._taken.get(job.id, time.monotonic())
                if not served or time.monotonic() - taken[job.id] > TAKING_SECONDS:
                    yield job


def _held(connection: Redis, name: str) -> list[Job]:
    """The jobs of a queue that workers have taken or started."""
    into = queue(name, connection)
    intermediate = IntermediateQueue(into.key, connection)
    started = StartedJobRegistry(queue=into, job_class=AllowedJob).get_job_ids(cleanup=False)
    jobs = []
    for id in dict.fromkeys([*started, *intermediate.get_job_ids()]):
        job = into.fetch_job(id)
        if job is None:
            intermediate.remove(id)
        else:
            jobs.append(job)
    return jobs


def _is_still_so(connection: Redis, job: Job) -> bool:
    """Whether nobody took or ended a job since its record was read."""
    state = connection.hmget(job.key, ["status", "worker_name"])
    status, worker = (as_text(value or b"") for value in state)
    return (status, worker) == (job.get_status(refresh=False).value, job.worker_name or "")


def new_life(place: str) -> str:
    """A fresh name for the worker of a place, QUEUE.HOST.PID.SEAT; the seat is empty where a process has one.

    A worker that loses its connection begins anew under another name of the same place.
    """
    return f"{place}{uuid.uuid4().hex[:LIFE]}"


def _has_worker(job: Job, alive: set[str]) -> bool:
    """Whether the worker that took a job lives: the queue lists it, or forgot it and it runs here."""
    name = job.worker_name or ""
    _, _, place = name.partition(".")
    host, _, pid = place.rpartition(".")[0].rpartition(".")
    if name in alive or host != socket.gethostname() or not pid.isdigit():
        return name in alive
    # The same place under another name has lost its connection and begun anew.
    return runs(int(pid)) and not any(name[:-LIFE] == other[:-LIFE] for other in alive)


def reclaim(connection: Redis, names: Iterable[str]) -> Reclaimed:
    """Put jobs of workers that are no more back to the front of their queues, by one look."""
    return Reclaimer(tuple(names)).look(connection)


def _put_back_or_give_up(connection: Redis, into: Queue, job: Job, reclaimed: Reclaimed) -> None:
    started = StartedJobRegistry(queue=into, job_class=AllowedJob)
    # By name: what RQ knows of the executions themselves may have run out.
    entries = [as_text(entry) for entry in connection.zrange(started.key, 0, -1)]  # type: ignore[arg-type]
    executions = [entry for entry in entries if entry.partition(":")[0] == job.id]
    deaths = int(job.get_meta(refresh=False).get("deaths", 0))
    deaths += job.get_status(refresh=False) == JobStatus.STARTED
    with connection.pipeline() as pipeline:
        if executions:
            pipeline.zrem(started.key, *executions)
        pipeline.lrem(IntermediateQueue(into.key, connection).key, 0, job.id)
        pipeline.lrem(into.key, 0, job.id)
        if deaths < MOST_DEATHS:
            job.meta["deaths"] = deaths
            into._enqueue_job(job, pipeline=pipeline, at_front=True)  # noqa: SLF001 - the public way takes no pipeline
            reclaimed.waiting += 1
        else:
            job.set_status(JobStatus.FAILED, pipeline=pipeline)
            reason = f"{deaths} workers ended while they had this job"
            into.failed_job_registry.add(job, ttl=job.failure_ttl, exc_string=reason, pipeline=pipeline)
            reclaimed.given_up.append(job.id)
        pipeline.execute()


def lives(worker: BaseWorker) -> bool:
    """Whether a worker that Redis lists is still there: it lists the dead until their heartbeat runs out."""
    if worker.hostname != socket.gethostname() or not worker.pid:
        return True  # its heartbeat has not run out, or Redis would not list it
    return runs(worker.pid)


def bury_predecessors(connection: Redis, name: str) -> None:
    """Strike off the workers that the one of this name was before it lost its connection."""
    sweep(connection, ())
    for worker in Worker.all(connection=connection):
        if worker.name[:-LIFE] == name[:-LIFE]:
            worker.register_death()
