"""The three functions that a worker runs. They steer; the heavy part happens in the worker's child.

prepare: original → rendition and asset, then what the ledger lacks is enqueued.
analyse: renditions → findings, handed to `store`.
store:   findings → catalog, then the text that was found is enqueued to be embedded.

Each returns None when all is done, or the arguments of what is left when the worker is to stop.
"""

from __future__ import annotations

import base64
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from redis import Redis

from jobs.task import find_task
from mediaflow.catalog import assets, findings, locations, passages, work
from mediaflow.catalog.database import connect, transaction
from mediaflow.errors import FindingError, ModelError
from mediaflow.index.snapshot import follow
from mediaflow.media import cache
from mediaflow.models.identity import embed_text_model, task_model
from mediaflow.queues.jobs import ANALYSE, STORE, NewJob, enqueue, job_id
from mediaflow.queues.recovery import live_jobs, store_id
from mediaflow.settings import load_settings

Item = dict[str, Any]
Result = dict[str, Any]


class Bench(Protocol):
    """What a worker gives to the stage it runs."""

    connection: Redis
    job: str

    def work(self, items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Results by index as they come; ends early when the worker is to stop."""

    def wait(self, seconds: float) -> bool:
        """Wait with heartbeats; False when the worker is to stop."""


# --- prepare ----------------------------------------------------------------------------------


def prepare(bench: Bench, run: int, ids: list[int], tasks: list[str]) -> list[Any] | None:
    """Prepare the locations `ids` of a run and enqueue the `tasks` that their assets lack."""
    db = connect()
    while _no_room(db):
        if not bench.wait(5):
            return [run, ids, tasks]
    known = locations.paths(db, ids)
    ids = [id for id in ids if id in known]  # what was forgotten meanwhile needs nothing
    items = [{"path": os.fsdecode(os.path.join(*known[id][:2]))} for id in ids]
    wanted = Wanted(bench, run)
    settled = set()
    for index, result in bench.work(items):
        settled.add(index)
        with transaction(db):
            if "reason" in result:
                locations.failed(db, ids[index], result["reason"], result["permanent"])
            else:
                _enter(db, ids[index], result, tasks, wanted)
        wanted.enqueue_full()
    wanted.enqueue_all()
    left = [id for index, id in enumerate(ids) if index not in settled]
    return [run, left, tasks] if left else None


def _no_room(db: sqlite3.Connection) -> bool:
    """Whether renditions take all the room they may have, also after pruning."""
    limits = load_settings().renditions
    cache.prune(db, limits)
    return cache.full(db, limits)


def _enter(db: sqlite3.Connection, location: int, result: Result, tasks: list[str], wanted: Wanted) -> None:
    asset = assets.add(db, result["asset"], result["kind"], result["bytes"], result["media"])
    cache.made(db, asset, result["rendition_bytes"])
    locations.prepared(db, location, asset)
    for task in tasks:
        model = task_model(task)
        if result[find_task(task).needs]:
            wanted.want(db, asset, task, model, {"asset": result["asset"]})
        else:
            work.skip(db, asset, task, model)
    if "embed" in tasks:
        for source in passages.SOURCES.values():
            if texts := [row["text"] for row in passages.of(db, asset, source)]:
                item = {"asset": result["asset"], "source": source, "texts": texts}
                wanted.want(db, asset, "embed", embed_text_model(source), item)


@dataclass(slots=True)
class Wanted:
    """Work that the ledger was told of, gathered into jobs of the size the settings say."""

    bench: Bench
    run: int
    _open: dict[tuple[str, str], tuple[str, list[Item]]] = field(default_factory=dict)
    _mine: set[str] = field(default_factory=set)
    _live: set[str] | None = None

    def want(self, db: sqlite3.Connection, asset: int, task: str, model: str, item: Item) -> None:
        """Enter the work in the ledger and gather its item, unless it is done or under way."""
        job, items = self._open.get((task, model)) or (job_id(self.run, task), [])
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
        description = f"{task}: {len(items)} assets from {items[0]['asset'][:12]}"
        enqueue(
            self.bench.connection, task, [NewJob(job, ANALYSE, (self.run, task, model, items), description)]
        )

    def _is_live(self, job: object) -> bool:
        # Asked only when a row says "wanted" already, as for a copy: most runs never need the list.
        if self._live is None:
            self._live = live_jobs(self.bench.connection, [*load_settings().tasks, "index"])
        return job in self._mine or job in self._live


class _Lazy:
    """A container that asks a function whether it contains something."""

    def __init__(self, contains: Callable[[object], bool]) -> None:
        self._contains = contains

    def __contains__(self, thing: object) -> bool:
        return self._contains(thing)


# --- analyse ----------------------------------------------------------------------------------

# Findings go to the index worker when this many are there, or this many seconds after the first.
STORE_MOST = 32
STORE_SECONDS = 1.0


def analyse(bench: Bench, run: int, task: str, model: str, items: list[Item]) -> list[Any] | None:
    """Analyse the items with the task's model and hand the findings to `store`."""
    finished: set[int] = set()
    open_: list[Result] = []
    since = time.monotonic()
    try:
        for index, result in bench.work(items):
            finished.add(index)
            item = items[index]
            open_.append(
                {"asset": item["asset"]} | ({"source": item["source"]} if "source" in item else {}) | result
            )
            if len(open_) >= STORE_MOST or time.monotonic() - since > STORE_SECONDS:
                _hand_over(bench, run, task, model, open_)
                open_, since = [], time.monotonic()
    except ModelError as error:
        for index, item in enumerate(items):
            if index not in finished:
                finished.add(index)
                source = {"source": item["source"]} if "source" in item else {}
                open_.append({"asset": item["asset"], "reason": str(error), "permanent": False} | source)
    if open_:
        _hand_over(bench, run, task, model, open_)
    left = [item for index, item in enumerate(items) if index not in finished]
    return [run, task, model, left] if left else None


def _hand_over(bench: Bench, run: int, task: str, model: str, results: list[Result]) -> None:
    job = NewJob(
        store_id(bench.job),
        STORE,
        (run, task, model, results),
        f"store {task}: {len(results)} findings from {results[0]['asset'][:12]}",
    )
    enqueue(bench.connection, "index", [job])


# --- store ------------------------------------------------------------------------------------


def store(bench: Bench, run: int, task: str, model: str, results: list[Result]) -> None:
    """Write findings into the catalog, and enqueue the text that was found to be embedded."""
    db = connect()
    wanted = Wanted(bench, run)
    with transaction(db):
        for result in results:
            asset = assets.by_hash(db, result["asset"])
            if asset is None:
                continue  # forgotten meanwhile
            if "reason" in result:
                work.fail(db, asset["id"], task, model, result["reason"], result["permanent"])
                continue
            try:
                _keep(db, asset["id"], task, model, result)
            except FindingError as error:
                work.fail(db, asset["id"], task, model, str(error), True)
                continue
            work.finish(db, asset["id"], task, model)
            _want_text(db, asset["id"], result, task, wanted)
    wanted.enqueue_all()
    follow(db, load_settings().index.snapshot_every)


def _keep(db: sqlite3.Connection, asset: int, task: str, model: str, result: Result) -> None:
    source = result.get("source", "picture")
    if source == "picture":
        findings.store(db, asset, task, model, result["data"], result["seconds"])
    by_space: dict[str, list[findings.Row]] = {}
    for vector in result["vectors"]:
        values = np.frombuffer(base64.b64decode(vector["value"]), dtype="<f2").astype(np.float32)
        row = (source, vector["ordinal"], vector.get("page"), vector.get("time"), values)
        by_space.setdefault(vector["space"], []).append(row)
    for space, rows in by_space.items():
        findings.store_vectors(db, asset, space, [source], rows)


def _want_text(db: sqlite3.Connection, asset: int, result: Result, task: str, wanted: Wanted) -> None:
    source = passages.SOURCES.get(task)
    if source is None:
        return
    pieces = passages.cut(task, result["data"])
    changed = passages.replace(db, asset, source, pieces)
    # Nobody asked for this asset to be embedded: `submit --tasks embed` will find the passages.
    if not work.has(db, asset, "embed"):
        return
    model = embed_text_model(source)
    if changed:
        work.forget(db, asset, "embed", model)
    if pieces:
        row = assets.by_id(db, asset)
        item = {"asset": row["hash"], "source": source, "texts": [piece.text for piece in pieces]}
        wanted.want(db, asset, "embed", model, item)
