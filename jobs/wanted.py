"""Wanted work: told to the ledger first, then gathered into jobs of the size the settings say."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from redis import Redis

from jobs.bench import Item
from mediaflow.catalog import work
from mediaflow.catalog.passages import SOURCES
from mediaflow.models.identity import embed_text_model, task_model
from mediaflow.queues.jobs import ANALYSE, NewJob, enqueue
from mediaflow.queues.lineage import Live, child_id
from mediaflow.queues.recovery import live_jobs
from mediaflow.settings import load_settings

# What is known of the queues is not asked for again within this time.
FRESH_SECONDS = 2.0


def models_of(task: str) -> list[str]:
    """The models of a task's work in the ledger now; `embed` has one for each kind of text too."""
    texts = [embed_text_model(source) for source in SOURCES.values()] if task == "embed" else []
    return [task_model(task), *texts]


@dataclass(slots=True)
class Wanted:
    """The work that `job` of `run` finds to be wanted."""

    connection: Redis
    run: int
    job: str
    _open: dict[tuple[str, str], tuple[str, list[Item]]] = field(default_factory=dict)
    _mine: set[str] = field(default_factory=set)
    _live: Live = field(default_factory=Live)
    _asked: float = float("-inf")

    def want(self, db: sqlite3.Connection, asset: int, task: str, model: str, item: Item) -> None:
        """Enter the work in the ledger and gather its item, unless it is done or under way."""
        job, items = self._open.get((task, model)) or (child_id(self.job, task), [])
        if work.want(db, asset, task, model, job, _Lazy(self._is_live)):
            items.append(item)
            self._open[task, model] = (job, items)
            self._mine.add(job)

    def enqueue_full(self) -> None:
        """Enqueue the jobs that have as many items as one should have."""
        for (task, model), (_, items) in list(self._open.items()):
            if len(items) >= load_settings().tasks[task].batch:
                self._enqueue(task, model)

    def enqueue_all(self) -> None:
        """Enqueue what is gathered."""
        for task, model in list(self._open):
            self._enqueue(task, model)

    def _enqueue(self, task: str, model: str) -> None:
        job, items = self._open.pop((task, model))
        first = items[0]["asset"][:12]
        description = f"analyse(run {self.run}, {task}, {model}): {len(items)} assets from {first}"
        enqueue(self.connection, task, [NewJob(job, ANALYSE, (self.run, task, model, items), description)])

    def _is_live(self, job: object) -> bool:
        # Asked only when a row says "wanted" already, as for a copy: most runs never need the list.
        if job in self._mine or job in self._live:
            return True
        if time.monotonic() - self._asked > FRESH_SECONDS:
            self._live = live_jobs(self.connection, [*load_settings().tasks, "index"])
            self._asked = time.monotonic()
        return job in self._live


class _Lazy:
    """A container that asks a function whether it contains something."""

    def __init__(self, contains: Callable[[object], bool]) -> None:
        self._contains = contains

    def __contains__(self, thing: object) -> bool:
        return self._contains(thing)
