"""The three functions that a worker runs. They steer; the heavy part happens in the worker's child.

prepare: original → rendition and asset, then what the ledger lacks is enqueued.
analyse: renditions → findings, handed to `store`.
store:   findings → catalog, then the text that was found is enqueued to be embedded.

Each returns None when all is done, or the arguments of what is left when the worker is to stop.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import closing
from functools import partial
from threading import Thread
from typing import Any

from redis import Redis

from jobs.bench import Bench, Item, Result
from jobs.checking import check
from jobs.schema import bounded, bounded_prepared, check_finding
from jobs.task import find_task
from jobs.wanted import Wanted, analysis, models_of
from mediaflow.catalog import assets, findings, locations, passages, provenance, work
from mediaflow.catalog.database import connect, savepoint, transaction
from mediaflow.errors import FindingError, MediaflowError, ModelError
from mediaflow.fleet import distrust, ledger
from mediaflow.fleet.settings import load_fleet
from mediaflow.index.snapshot import follow
from mediaflow.media import cache
from mediaflow.models.identity import embed_text_model, task_model
from mediaflow.queues.arguments import MOST_TEXTS
from mediaflow.queues.jobs import STORE, NewJob, enqueue
from mediaflow.queues.lineage import ancestors, child_id, is_given_back
from mediaflow.queues.overview import served_queues
from mediaflow.queues.recovery import live_jobs
from mediaflow.settings import load_settings

log = logging.getLogger("mediaflow.stages")


# --- prepare ----------------------------------------------------------------------------------


def prepare(bench: Bench, run: int, ids: list[int], tasks: list[str]) -> list[Any] | None:
    """Prepare the locations `ids` of a run and enqueue the `tasks` that their assets lack."""
    with closing(connect()) as db:
        while _no_room(db) and _room_is_being_made(bench.connection):
            if not bench.wait(5):
                return [run, ids, tasks]
        return _prepare(bench, db, run, ids, tasks)


def _prepare(
    bench: Bench, db: sqlite3.Connection, run: int, ids: list[int], tasks: list[str]
) -> list[Any] | None:
    known = locations.paths(db, bench.job, ids)
    ids = [id for id in ids if id in known]  # what was forgotten, has failed or has another job needs nothing
    items = [
        {"path": os.fsdecode(path), "asset": asset, "root": os.fsdecode(root)}
        for path, asset, root in (known[id] for id in ids)
    ]
    wanted = Wanted(bench.connection, run, bench.job)
    settled = set()
    with closing(bench.work(items)) as results:
        for index, result in results:
            settled.add(index)
            result = bounded_prepared(result)
            with transaction(db):
                if not locations.is_for(db, ids[index], bench.job):
                    continue  # what was read is not what is there now
                if result.get("skip"):
                    locations.skip(db, ids[index], result["reason"])
                elif "reason" in result:
                    locations.failed(db, ids[index], *_why(result))
                else:
                    _enter(db, ids[index], result, tasks, wanted)
            wanted.enqueue_full()
    wanted.enqueue_all()
    left = [id for index, id in enumerate(ids) if index not in settled]
    return [run, left, tasks] if left else None


def _why(result: Result) -> tuple[str, bool, bool]:
    """Of a result that is a refusal: the reason, and whether it is permanent and blameless."""
    return result["reason"], result["permanent"], result.get("blameless", False)


def _no_room(db: sqlite3.Connection) -> bool:
    """Whether renditions take all the room they may have, also after pruning."""
    limits = load_settings().renditions
    cache.prune(db, limits)
    return cache.full(db, limits)


def _room_is_being_made(connection: Redis) -> bool:
    """Whether some worker has analyses to do, so that renditions will be done with.

    Those whose jobs were lost, or whose task has no worker, keep their room: waiting for them would
    be waiting for ever.
    """
    served = served_queues(connection) & {*load_settings().tasks, "index"}
    return bool(live_jobs(connection, served))


def _enter(db: sqlite3.Connection, location: int, result: Result, tasks: list[str], wanted: Wanted) -> None:
    asset = assets.add(db, result["asset"], result["kind"], result["bytes"], result["media"])
    cache.made(db, asset, result["rendition_bytes"])
    locations.prepared(db, location, asset)
    for task in tasks:
        model = task_model(task)
        work.drop_unfinished(db, asset, task, models_of(task))
        if result[find_task(task).needs]:
            wanted.want(db, asset, task, model, {"asset": result["asset"]})
        else:
            work.skip(db, asset, task, model)
    if "embed" in tasks:
        for source in passages.SOURCES.values():
            if texts := [row["text"] for row in passages.of(db, asset, source)]:
                item = {"asset": result["asset"], "source": source, "texts": texts}
                wanted.want(db, asset, "embed", embed_text_model(source), item)


# --- analyse ----------------------------------------------------------------------------------

# Findings go to the index worker when this many are there, or this many seconds after the first.
STORE_MOST = 32
STORE_SECONDS = 1.0
# Findings of so many characters are handed over at once.
STORE_LENGTH = 8_000_000
# What a finding that breaks the rules makes of the functions that store it.
BROKEN = (FindingError, LookupError, TypeError, ValueError, AttributeError, sqlite3.IntegrityError)


def analyse(bench: Bench, run: int, task: str, model: str, items: list[Item]) -> list[Any] | None:
    """Analyse the items with the task's model and hand the findings to `store`.

    What a box did not do goes back into the queue: in a job that this box does not get again (a result
    {"elsewhere": reason, "box": label}); the second time, and where no box may have it ({"home": reason}), in
    one that stays here.
    """
    finished: set[int] = set()
    open_: list[Result] = []
    given_back: dict[str, list[Item]] = {}
    length, since = 0, time.monotonic()

    def left() -> list[Any]:
        return [run, task, model, [item for index, item in enumerate(items) if index not in finished]]

    try:
        if model not in models_of(task):
            raise ModelError(f"the model of {task} was changed meanwhile: submit again")
        with closing(bench.work(items)) as results:
            for index, result in results:
                finished.add(index)
                if why := result.get("home") or result.get("elsewhere"):
                    not_for = _not_for(bench.job, result)
                    where = "elsewhere" if not_for else "here"
                    log.info("%s of %s is done %s: %s.", task, items[index]["asset"], where, why)
                    given_back.setdefault(not_for, []).append(items[index])
                else:
                    result, size = bounded(result)
                    open_.append(_about(items[index], result))
                    length += size
                enough = len(open_) >= STORE_MOST or length > STORE_LENGTH
                if enough or time.monotonic() - since > STORE_SECONDS:
                    _hand_over(bench, run, task, model, open_, given_back)
                    open_, given_back, length, since = [], {}, 0, time.monotonic()
                    bench.keep(left())
    except ModelError as error:
        for index, item in enumerate(items):
            if index not in finished:
                finished.add(index)
                refusal = {"reason": str(error), "permanent": False, "blameless": True}
                open_.append(_about(item, refusal))
    _hand_over(bench, run, task, model, open_, given_back)
    return left() if len(finished) < len(items) else None


def _about(item: Item, result: Result) -> Result:
    """A result with what it is about, which the item says and nobody else."""
    said = {key: value for key, value in result.items() if key not in ("asset", "source")}
    return {key: item[key] for key in ("asset", "source") if key in item} | said


def _not_for(job: str, result: Result) -> str:
    """The box that is not to have an item again; empty where none is: two that failed are enough."""
    return "" if "home" in result or is_given_back(job) else result["box"]


def _hand_over(
    bench: Bench,
    run: int,
    task: str,
    model: str,
    results: list[Result],
    given_back: dict[str, list[Item]],
) -> None:
    jobs = []
    if results:
        what = f"{len(results)} findings from {results[0]['asset'][:12]}"
        description = f"store(run {run}, {task}, {model}): {what}"
        store = NewJob(child_id(bench.job, "store"), STORE, (run, task, model, results), description)
        jobs.append(("index", store))
    for box, items in given_back.items():
        id = child_id(bench.job, task, at_home=not box, not_for=box)
        jobs.append((task, analysis(id, run, task, model, items)))
    for queue, job in jobs:
        # Here: analysing all of it again would take longer than waiting does.
        bench.patiently(partial(enqueue, bench.connection, queue, [job]))


# --- store ------------------------------------------------------------------------------------


def store(bench: Bench, run: int, task: str, model: str, results: list[Result]) -> None:
    """Write findings into the catalog, and enqueue the text that was found to be embedded."""
    wanted = Wanted(bench.connection, run, bench.job)
    with closing(connect()) as db:
        with transaction(db):
            for result in results:
                _store(db, task, model, result, wanted)
        wanted.enqueue_all()
        distrust.tell(db)
    _measure(task, results)
    # Beside the heartbeats: a large index takes minutes.
    building = Thread(target=_follow)
    building.start()
    while building.is_alive():
        building.join(0.5)
        if building.is_alive() and not bench.wait(0.2):
            building.join()


def _store(db: sqlite3.Connection, task: str, model: str, result: Result, wanted: Wanted) -> None:
    asset = assets.by_hash(db, result["asset"])
    if asset is None or not work.was_asked(db, asset["id"], task, model):
        log.info("Nobody wants %s (%s) of %s (any more).", task, model, result["asset"])
        return
    id, box = asset["id"], result.get("box")
    checked = provenance.box_of(db, id, task, model)
    # Of text too: it may have changed since its job was made.
    if (box or checked or result.get("source")) and not _is_awaited(db, id, task, model, box, wanted.job):
        log.info("Somebody else does %s (%s) of %s.", task, model, result["asset"])
        return
    if result.get("reason") is not None and box is None:
        if checked:
            provenance.count_check(db, checked, task, "failed")
        work.fail(db, id, task, model, *_why(result))
        return
    try:
        if result.get("reason") is not None:
            raise FindingError(result["reason"])  # the gateway saw that it breaks the rules
        with savepoint(db):
            _keep(db, id, task, model, result, checked)
            _want_text(db, id, result, task, wanted)
    except BROKEN as error:
        if box is None:
            work.fail(db, id, task, model, _refusal(task, error), True)
        else:
            distrust.differed(db, box, task, _refusal(task, error), gross=False)
            work.reopen(db, id, task, model)
            wanted.want(db, id, task, model, _item(db, id, result), at_home=True)
        return
    work.finish(db, id, task, model, box)
    if box and distrust.choose(db, box, task):
        work.reopen(db, id, task, model)
        wanted.want(db, id, task, model, _item(db, id, result))


def _is_awaited(db: sqlite3.Connection, asset: int, task: str, model: str, box: str | None, job: str) -> bool:
    """Whether a result of `job` is what the ledger waits for, and its box is one to be believed."""
    distrusted = box is not None and provenance.is_distrusted(db, box)
    return not distrusted and provenance.awaited(db, asset, task, model, {job, *ancestors(job)})


def _item(db: sqlite3.Connection, asset: int, result: Result) -> Item:
    """The item that a result is of."""
    item = {"asset": result["asset"]}
    if source := result.get("source"):
        item |= {"source": source, "texts": [row["text"] for row in passages.of(db, asset, source)]}
    return item


def _measure(task: str, results: list[Result]) -> None:
    """Tell the fleet's ledger how long this machine took."""
    seconds = [result["seconds"] for result in results if not result.get("box") and result.get("seconds")]
    if not seconds or not load_fleet().enabled:
        return
    machine = sum(seconds) / max(1, load_settings().tasks[task].workers)
    try:
        with closing(ledger.open_ledger()) as fleet:
            ledger.measured(fleet, "here", task, len(seconds), machine, time.time())
    except sqlite3.Error as error:
        log.warning("How long %s takes here could not be written down: %s", task, error)


def _follow() -> None:
    try:
        with closing(connect()) as db:
            follow(db, load_settings().index.snapshot_every)
    except (OSError, RuntimeError, sqlite3.Error, MediaflowError) as error:
        # The catalog has the vectors; the next snapshot will have them too.
        log.warning("The search index could not follow: %s", error)


def _refusal(task: str, error: Exception) -> str:
    if isinstance(error, FindingError):
        return str(error)
    return f"{task} found what cannot be stored ({type(error).__name__}: {error})"


def _keep(
    db: sqlite3.Connection, asset: int, task: str, model: str, result: Result, checked: str | None
) -> None:
    """Store a finding, after what the box `checked` says in its place was compared with it."""
    found = check_finding(find_task(task), model, result)
    if checked is not None:
        check(db, checked, asset, task, model, result, found)
    source = result.get("source") or "picture"
    if source == "picture":
        findings.store(db, asset, task, model, result["data"], result["seconds"])
    by_space: dict[str, list[findings.Row]] = {}
    for vector, values in zip(result["vectors"], found, strict=True):
        row = (source, vector["ordinal"], vector.get("page"), vector.get("time"), values)
        by_space.setdefault(vector["space"], []).append(row)
    for space, rows in by_space.items():
        findings.store_vectors(db, asset, space, [source], rows, result.get("box"))


def _want_text(db: sqlite3.Connection, asset: int, result: Result, task: str, wanted: Wanted) -> None:
    source = passages.SOURCES.get(task)
    if source is None:
        return
    pieces = passages.cut(task, result["data"])
    if len(pieces) > MOST_TEXTS:
        raise FindingError(
            f"What {task} found is text of {len(pieces):,} passages; {MOST_TEXTS:,} of a file can be "
            "embedded. Cut the file into parts and submit them."
        )
    changed = passages.replace(db, asset, source, pieces)
    # Nobody asked for this asset to be embedded: `submit --tasks embed` will find the passages.
    if not work.has(db, asset, "embed"):
        return
    model = embed_text_model(source)
    if changed:
        work.forget_text(db, asset, source)
    if pieces:
        row = assets.by_id(db, asset)
        item = {"asset": row["hash"], "source": source, "texts": [piece.text for piece in pieces]}
        wanted.want(db, asset, "embed", model, item)
