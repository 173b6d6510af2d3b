"""A household of tests: real stages, server and catalog; what boxes and this machine find is played."""

from __future__ import annotations

import base64
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from redis import Redis
from rq.job import Job

from jobs import stages
from mediaflow.catalog import locations, provenance, runs
from mediaflow.catalog.database import transaction
from mediaflow.catalog.locations import Candidate
from mediaflow.fleet import ledger
from mediaflow.queues.jobs import ANALYSE, PREPARE, queue
from mediaflow.queues.lineage import may_go_to, new_id
from mediaflow.settings import all_queues

Item = dict[str, Any]
Result = dict[str, Any]


def rented(label: str, host: int = 1) -> None:
    """Write a working box into the fleet's ledger."""
    columns = {
        "label": label,
        "state": "working",
        "token": label,
        "machine": host,
        "host": host,
        "gpu": "RTX 4090",
        "region": "DE",
        "price": 0.4,
        "storage": 0.01,
        "traffic": 0.01,
        "intended": time.time(),
        "lease": time.time() + 600,
        "expires": time.time() + 6000,
    }
    with closing(ledger.open_ledger()) as fleet:
        ledger.insert(fleet, columns)


def base64_of(values: Sequence[float], dimension: int) -> str:
    """A vector of unit length that begins with these values, as it is on its way."""
    vector = np.zeros(dimension, dtype=np.float32)
    vector[: len(values)] = values
    return base64.b64encode((vector / np.linalg.norm(vector)).astype("<f2").tobytes()).decode()


class PlayedBench:
    """What a stage needs of a worker, whose child or box is a function from an item to a result."""

    def __init__(self, client: Redis, job: str, play: Callable[[Item], Result | None]) -> None:
        self.connection, self.job, self._play = client, job, play

    def work(self, items: Sequence[Item]) -> Generator[tuple[int, Result], None, None]:
        for index, item in enumerate(items):
            result = self._play(item)
            if result is None:  # the worker is to stop, or the box is gone
                return
            yield index, result

    def wait(self, seconds: float) -> bool:
        return False

    def keep(self, arguments: Sequence[Any]) -> None: ...

    def patiently(self, action: Callable[[], Any]) -> Any:
        return action()


@dataclass(slots=True)
class Household:
    """Runs the jobs that wait: those that may leave by boxes, in turn, all else here.

    `here` says what this machine finds of an item, `boxes` what boxes do, by label. `left` remembers what
    each of them was given.
    """

    db: sqlite3.Connection
    client: Redis
    here: Callable[[str, Item], Result]
    boxes: dict[str, Callable[[str, Item], Result | None]]
    left: dict[str, list[Item]] = field(default_factory=dict)
    turns: int = 0

    def submit(self, paths: Sequence[bytes], tasks: list[str], library: str = "default") -> None:
        """Have files prepared, each in a job of its own."""
        with transaction(self.db):
            run = runs.begin(self.db, library, tuple(paths), tasks)
        for path in paths:
            job = new_id(run, "prepare")
            with transaction(self.db):
                file = Candidate(*os.path.split(path), 10, 1, None)
                ids = locations.enqueue(self.db, library, run, job, [file])
            stages.prepare(
                PlayedBench(self.client, job, lambda item: self.here("prepare", item)), run, ids, tasks
            )

    def waiting(self) -> list[Job]:
        """The jobs that wait in any queue."""
        return [job for name in all_queues() for job in queue(name, self.client).get_jobs()]

    def run(self, job: Job, *, twice: bool = False) -> None:
        """Do one job; `twice`: it stays in its queue, as when the worker died at the very end."""
        left = self._stage(job)
        if not twice:
            queue(job.origin, self.client).remove(job.id)
            job.delete()
        if left is not None and not twice:
            job.args = list(left)
            queue(job.origin, self.client).enqueue_job(job)

    def run_all(self) -> None:
        """Do what waits until nothing does."""
        while waiting := self.waiting():
            self.run(next((job for job in waiting if job.origin == "index"), waiting[0]))

    def _stage(self, job: Job) -> list[Any] | None:
        if job.func_name == PREPARE:
            return stages.prepare(self._at_home(job, "prepare"), *job.args)
        if job.func_name == ANALYSE:
            boxes = [label for label in self._working() if may_go_to(job.id, label)]
            if not boxes:
                return stages.analyse(self._at_home(job, job.origin), *job.args)
            return stages.analyse(self._at_box(job, boxes), *job.args)
        stages.store(self._at_home(job, "index"), *job.args)
        return None

    def _working(self) -> list[str]:
        """The boxes that are still wanted: the credential of a liar is dead."""
        return [label for label in self.boxes if not provenance.is_distrusted(self.db, label)]

    def _at_home(self, job: Job, name: str) -> PlayedBench:
        return PlayedBench(self.client, job.id, lambda item: self.here(name, item))

    def _at_box(self, job: Job, boxes: list[str]) -> PlayedBench:
        self.turns += 1
        label = boxes[self.turns % len(boxes)]

        def play(item: Item) -> Result | None:
            self.left.setdefault(label, []).append(item)
            result = self.boxes[label](job.origin, item)
            return None if result is None else result | {"box": label}

        return PlayedBench(self.client, job.id, play)
