"""What the queues hold and who serves them, for `status`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis
from rq.intermediate_queue import IntermediateQueue
from rq.registry import StartedJobRegistry
from rq.utils import as_text
from rq.worker import Worker

from mediaflow.queues.connection import NO_FILE, NO_MEMORY, NO_PRIMARY
from mediaflow.queues.jobs import AllowedJob, queue
from mediaflow.queues.recovery import lives
from mediaflow.queues.sweep import sweep


@dataclass(frozen=True, slots=True)
class QueueState:
    """Jobs in one queue, and how many workers serve it."""

    name: str
    waiting: int
    running: int
    failed: int
    workers: int


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker as Redis knows it: `state` is idle, busy, starting or suspended.

    `trouble` is what it waits for: a disk, the catalog; empty when it goes on.
    """

    name: str
    queue: str
    pid: int
    host: str
    state: str
    trouble: str = ""


def workers(connection: Redis) -> list[WorkerState]:
    """The workers that live, by name."""
    sweep(connection, ())  # RQ would raise on a record that is none
    found = []
    for worker in filter(lives, Worker.all(connection=connection)):
        names = worker.queue_names()
        state = str(worker.get_state())
        trouble = as_text(connection.hget(worker.key, "trouble") or b"")
        queue_name = names[0] if names else ""
        found.append(
            WorkerState(worker.name, queue_name, worker.pid or 0, worker.hostname or "", state, trouble)
        )
    return sorted(found, key=lambda worker: worker.name)


def refusals(connection: Redis) -> list[str]:
    """Why the queue, though it answers, takes nothing new (INFO of Redis and Valkey); empty when it does."""
    info = connection.info()
    found = []
    if info.get("role") == "slave":
        found.append(NO_PRIMARY)
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        found.append(NO_FILE)
    most = info.get("maxmemory", 0)
    if most and info.get("used_memory", 0) > most:
        found.append(NO_MEMORY)
    return found


def served_queues(connection: Redis) -> set[str]:
    """The queues that have a worker."""
    return {worker.queue for worker in workers(connection)}


def queues(connection: Redis, names: Sequence[str], serving: Sequence[WorkerState]) -> list[QueueState]:
    """The state of each queue in `names`."""
    sweep(connection, names)
    states = []
    for name in names:
        waiting = queue(name, connection)
        running = StartedJobRegistry(queue=waiting, job_class=AllowedJob).get_job_count(cleanup=False)
        running += connection.llen(IntermediateQueue(waiting.key, connection).key)
        failed = waiting.failed_job_registry.get_job_count(cleanup=False)
        count = sum(worker.queue == name for worker in serving)
        states.append(QueueState(name, waiting.count, running, failed, count))
    return states
