"""The worker and its child: what a job may name, what an item may cost, and whose result a result is."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis
from rq import Callback, Queue
from rq.serializers import JSONSerializer

from mediaflow.errors import ModelError
from mediaflow.queues import connection, jobs
from mediaflow.queues.jobs import ANALYSE, PREPARE, STORE, NewJob
from tests.installation import Installation, answer, paint, paint_many, until
from workers.watch import Limits, Watch

pytestmark = pytest.mark.slow


class Ticks:
    """Counts heartbeats, and says when the worker is to stop."""

    def __init__(self) -> None:
        self.count = 0
        self.stop = False

    def tick(self) -> None:
        self.count += 1

    def stopping(self) -> bool:
        return self.stop


def watch(queue: str, ticks: Ticks, seconds: float = 20, memory_mb: int = 1000) -> Watch:
    return Watch(queue, Limits(seconds, memory_mb), 1, ticks.tick, ticks.stopping)


def items(paths: list[Path]) -> list[dict[str, object]]:
    return [{"path": str(path), "root": str(path.parent), "asset": None} for path in paths]


# --- the child ---------------------------------------------------------------------------------


def test_results_of_a_batch_that_was_given_up_are_not_taken_for_the_next(
    colours: Path, tmp_path: Path
) -> None:
    child = watch("prepare", Ticks())
    first, second = paint_many(tmp_path / "a", 8), paint_many(tmp_path / "b", 8, "cyan")
    try:
        with closing(child.work(items(first))) as results:
            next(results)  # as when the catalog refuses what came
        found = dict(child.work(items(second)))
    finally:
        child.stop()
    assert {index: result["asset"] for index, result in found.items()} == {
        index: hashlib.sha256(path.read_bytes()).hexdigest() for index, path in enumerate(second)
    }


def test_the_child_stays_warm_from_batch_to_batch(colours: Path, tmp_path: Path) -> None:
    child = watch("prepare", Ticks())
    try:
        list(child.work(items(paint_many(tmp_path / "a", 2))))
        assert child._process is not None
        before = child._process.pid
        list(child.work(items(paint_many(tmp_path / "b", 2, "cyan"))))
        assert child._process.pid == before
    finally:
        child.stop()


def test_the_heart_beats_however_quick_the_items_are(colours: Path, tmp_path: Path) -> None:
    ticks = Ticks()
    child = watch("prepare", ticks)
    try:
        list(child.work(items(paint_many(tmp_path, 1))))
        ticks.count, started = 0, time.monotonic()
        list(child.work(items(paint_many(tmp_path, 300))))
        assert ticks.count >= int(time.monotonic() - started)
    finally:
        child.stop()


def test_a_worker_that_is_to_stop_stops_between_two_items(colours: Path, tmp_path: Path) -> None:
    ticks = Ticks()
    child = watch("prepare", ticks)
    done = 0
    try:
        for _ in child.work(items(paint_many(tmp_path, 50))):
            done += 1
            ticks.stop = done == 5
        assert 5 <= done < 20
    finally:
        child.stop()


def test_a_worker_that_is_to_stop_does_not_wait_for_a_model_to_load(colours: Path, tmp_path: Path) -> None:
    ticks = Ticks()
    ticks.stop = False
    child = watch("look", ticks)
    ticks.tick = lambda: setattr(ticks, "stop", True)  # type: ignore[method-assign]
    child.tick = ticks.tick
    assert list(child.work([{"asset": "x"}] * 3)) == []
    assert child._process is None


def test_a_model_that_does_not_load_is_a_model_error(colours: Path) -> None:
    (colours / "no-model").touch()
    with pytest.raises(ModelError, match="the model is not there"):
        list(watch("look", Ticks()).work([{"asset": "x"}]))


def test_a_memory_that_is_spent_item_by_item_is_noticed(colours: Path, tmp_path: Path) -> None:
    child = watch("prepare", Ticks(), memory_mb=30)  # less than the interpreter takes
    try:
        [(_, result)] = list(child.work(items([paint(tmp_path / "x.png")])))
    finally:
        child.stop()
    assert "more than the 30 MB" in result["reason"] or "asset" in result


# --- jobs --------------------------------------------------------------------------------------


class Pickle:
    """RQ's own default, which mediaflow takes away from it."""

    dumps = staticmethod(pickle.dumps)
    loads = staticmethod(pickle.loads)


def evil(client: Redis, name: str, **options: object) -> str:
    into = Queue(name, connection=client, serializer=JSONSerializer)
    return str(into.enqueue(str(options.pop("function", "os.system")), **options).id)


def test_a_job_that_names_what_it_must_not_is_refused_and_the_worker_goes_on(
    either: Installation, tmp_path: Path
) -> None:
    either.up()
    trace = tmp_path / "was-run"
    touch = f"touch {trace}"
    with connection.connect() as client:
        bad = [
            evil(client, "look", args=[touch]),
            evil(client, "index", args=[touch]),
            evil(client, "prepare", function=PREPARE, args=[1, [], []], on_success=Callback("os.system")),
            evil(client, "prepare", args=[touch], on_failure=Callback("os.system")),
            evil(client, "look", function="workers.watch.Watch", args=[touch]),
        ]
        pickled = Queue("look", connection=client, serializer=Pickle).enqueue("os.system", touch)
        for id in [*bad, pickled.id]:
            until(lambda id=id: client.hget(f"rq:job:{id}", "status") == b"failed", id)
        assert answer("status")["refused"] == len(bad) + 1
        workers = {worker["pid"] for worker in answer("status")["workers"]}
    paint_many(tmp_path / "pile", 3)
    assert answer("submit", str(tmp_path / "pile"), "--wait")["done"] == 3
    assert {worker["pid"] for worker in answer("status")["workers"]} == workers, "nobody was taken down"
    assert not trace.exists()


def test_a_finding_that_breaks_the_rules_costs_one_file_of_its_job(
    installation: Installation, tmp_path: Path
) -> None:
    installation.up()
    paint_many(tmp_path / "pile", 3)
    assert answer("submit", str(tmp_path / "pile"), "--wait")["done"] == 3
    assets = [row[0] for row in installation.ask("SELECT hash FROM assets ORDER BY id")]
    vector = {"space": "colours", "ordinal": 0, "value": "AAAAAAAAAAA="}
    results = [
        {"asset": assets[0], "data": {}, "seconds": 1.0, "vectors": [vector]},  # another dimension
        {"asset": assets[1], "vectors": []},  # no data
        {"asset": "0" * 64, "data": {}, "seconds": 1.0, "vectors": []},
        {"asset": assets[2], "data": {"colour": "new"}, "seconds": 1.0, "vectors": []},
    ]
    want(installation, "late", "run1-late-x")
    with connection.connect() as client:
        job = NewJob("run1-late-x-store-1", STORE, (1, "late", "late", results), "by hand")
        jobs.enqueue(client, "index", [job])
    until(lambda: installation.states("late").get("wanted") is None, "it was stored")
    rows = dict(
        installation.ask(
            "SELECT a.hash, w.state FROM work w JOIN assets a ON a.id = w.asset WHERE task = 'late'"
        )
    )
    assert rows == {assets[0]: "failed", assets[1]: "failed", assets[2]: "done"}
    assert {failure["stage"] for failure in answer("failures")} == {"late"}
    kept = installation.ask("SELECT COUNT(*) FROM findings WHERE task = 'late'")
    assert kept == [(1,)], "of what was refused nothing is kept"


def want(installation: Installation, task: str, job: str, model: str = "") -> None:
    """Enter in the ledger that `job` is to do the task on all assets."""
    with closing(sqlite3.connect(installation.home / "catalog.sqlite")) as db, db:
        db.execute(
            "INSERT INTO work (asset, task, model, state, job, changed)"
            " SELECT id, :task, :model, 'wanted', :job, 0 FROM assets",
            {"task": task, "model": model or task, "job": job},
        )


def test_a_job_that_cannot_be_done_at_all_is_listed_and_not_waited_for(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_TASKS__BROKEN__MODULE", "no.such.module")
    monkeypatch.setenv("MEDIAFLOW_TASKS__BROKEN__DEFAULT", "false")
    installation.up()
    paint_many(tmp_path / "pile", 3)
    assert answer("submit", str(tmp_path / "pile"), "--wait")["done"] == 3
    hash = installation.ask("SELECT hash FROM assets")[0][0]
    want(installation, "broken", "odd")
    finding = {"asset": hash, "data": {}, "seconds": 1.0, "vectors": []}
    with connection.connect() as client:
        jobs.enqueue(client, "index", [NewJob("odd", STORE, (1, "broken", "broken", [finding]), "odd")])
    until(lambda: installation.states("broken").get("failed"), "it is listed")


def test_work_for_a_model_that_is_no_more_is_not_done_with_another(
    installation: Installation, tmp_path: Path
) -> None:
    installation.up()
    paint_many(tmp_path / "pile", 2)
    assert answer("submit", str(tmp_path / "pile"), "--wait")["done"] == 2
    items = [{"asset": row[0]} for row in installation.ask("SELECT hash FROM assets")]
    want(installation, "look", "old", "old model")
    with connection.connect() as client:
        job = NewJob("old", ANALYSE, (1, "look", "old model", items), "of before the change")
        jobs.enqueue(client, "look", [job])
    until(lambda: installation.states().get("failed"), "it is listed")
    assert "was changed meanwhile" in answer("failures")[0]["reason"]
    assert len(installation.calls()) == 2
    # Whatever is prepared next clears it away.
    assert answer("submit", str(tmp_path / "pile"), "--tasks", "late", "--wait")["failed"] == 0
    assert len(answer("failures")) == 2
    os.utime(next((tmp_path / "pile").iterdir()), (1, 1))
    os.utime(list((tmp_path / "pile").iterdir())[1], (1, 1))
    assert answer("submit", str(tmp_path / "pile"), "--wait")["failed"] == 0


def test_no_process_is_left_as_a_zombie_and_no_file_is_left_open(
    either: Installation, tmp_path: Path
) -> None:
    either.up()
    for round in range(3):
        paint_many(tmp_path / "pile", 4, "yellow", first=4 * round)  # each kills its child
    answer("submit", str(tmp_path / "pile"), "--wait", status=1)
    worker = either.worker("look")
    states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in children(worker)]
    assert "Z" not in states
    assert len(states) <= 1
    for queue in ("prepare", "look", "index"):
        links = Path(f"/proc/{either.worker(queue)}/fd").iterdir()
        files = [str(link.readlink()) for link in links if link.is_symlink()]
        assert len(files) < 25, files
        assert not [name for name in files if "catalog.sqlite" in name], "it is closed between jobs"


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_stopped_worker_says_farewell(installation: Installation) -> None:
    installation.up()
    pid = installation.worker("look")
    os.kill(pid, signal.SIGTERM)
    until(lambda: installation.worker("look") != pid, "another has taken its place")
    with connection.connect() as client:
        names = [worker["pid"] for worker in answer("status")["workers"]]
        assert pid not in names
        assert client.ping()
