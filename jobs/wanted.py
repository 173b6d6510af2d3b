"""Wanted work: told to the ledger first, then gathered into jobs of the size the settings say."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from redis import Redis

from jobs.bench import Item
from mediaflow.catalog import provenance, work
from mediaflow.catalog.passages import SOURCES
from mediaflow.fleet.leaving import may_leave
from mediaflow.fleet.settings import load_fleet
from mediaflow.models.identity import embed_text_model, task_model
from mediaflow.queues.jobs import ANALYSE, NewJob, enqueue
from mediaflow.queues.lineage import Live, child_id
from mediaflow.queues.recovery import live_jobs
from mediaflow.settings import load_settings

# What is known of the queues is not asked for again within this time.
FRESH_SECONDS = 2.0
# Characters of text in one job, unless it has one item only: a job that is too large would be refused.
MOST_LETTERS = 2_000_000


def models_of(task: str) -> list[str]:
    """The models of a task's work in the ledger now; `embed` has one for each kind of text too."""
    texts = [embed_text_model(source) for source in SOURCES.values()] if task == "embed" else []
    return [task_model(task), *texts]


def analysis(
    job: str, run: int, task: str, model: str, items: list[Item], *, at_front: bool = False
) -> NewJob:
    """A job to analyse these items."""
    description = f"analyse(run {run}, {task}, {model}): {len(items)} assets from {items[0]['asset'][:12]}"
    return NewJob(job, ANALYSE, (run, task, model, items), description, at_front)


class Kind(NamedTuple):
    """What the items of one job have in common. A `check` comes first: a box that lies goes on till then."""

    task: str
    model: str
    at_home: bool
    check: bool


@dataclass(slots=True)
class Wanted:
    """The work that `job` of `run` finds to be wanted."""

    connection: Redis
    run: int
    job: str
    _open: dict[Kind, tuple[str, list[Item]]] = field(default_factory=dict)
    _full: list[tuple[Kind, str, list[Item]]] = field(default_factory=list)
    _mine: set[str] = field(default_factory=set)
    _live: Live = field(default_factory=Live)
    _asked: float = float("-inf")

    def want(
        self,
        db: sqlite3.Connection,
        asset: int,
        task: str,
        model: str,
        item: Item,
        *,
        at_home: bool = False,
    ) -> None:
        """Enter the work in the ledger and gather its item, unless it is done or under way.

        What must stay at home, may not leave, or is to show whether a box was right, is gathered apart.
        """
        check = provenance.box_of(db, asset, task, model) is not None
        at_home = at_home or check or (load_fleet().enabled and not may_leave(db, item["asset"], task))
        kind = Kind(task, model, at_home, check)
        if kind in self._open and _letters([*self._open[kind][1], item]) > MOST_LETTERS:
            self._close(kind)
        job, items = self._open.get(kind) or (child_id(self.job, task, at_home=at_home), [])
        if work.want(db, asset, task, model, job, _Lazy(self._is_live)):
            items.append(item)
            self._open[kind] = (job, items)
            self._mine.add(job)

    def enqueue_full(self) -> None:
        """Enqueue the jobs that have as many items as one should have."""
        for kind, (_, items) in list(self._open.items()):
            if len(items) >= load_settings().tasks[kind.task].batch:
                self._close(kind)
        self._enqueue()

    def enqueue_all(self) -> None:
        """Enqueue what is gathered."""
        for kind in list(self._open):
            self._close(kind)
        self._enqueue()

    def _close(self, kind: Kind) -> None:
        # Not enqueued at once: the ledger may not know of it yet.
        self._full.append((kind, *self._open.pop(kind)))

    def _enqueue(self) -> None:
        while self._full:
            kind, job, items = self._full[0]
            made = analysis(job, self.run, kind.task, kind.model, items, at_front=kind.check)
            enqueue(self.connection, kind.task, [made])
            del self._full[0]

    def _is_live(self, job: object) -> bool:
        # Asked only when a row says "wanted" already, as for a copy: most runs never need the list.
        if job in self._mine or job in self._live:
            return True
        if time.monotonic() - self._asked > FRESH_SECONDS:
            self._live = live_jobs(self.connection, [*load_settings().tasks, "index"])
            self._asked = time.monotonic()
        return job in self._live


def _letters(items: list[Item]) -> int:
    return sum(len(text) for item in items for text in item.get("texts") or ())


class _Lazy:
    """A container that asks a function whether it contains something."""

    def __init__(self, contains: Callable[[object], bool]) -> None:
        self._contains = contains

    def __contains__(self, thing: object) -> bool:
        return self._contains(thing)
