"""The stages between the queues and the catalog: a real catalog, a real server, one call at a time."""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from jobs import stages
from mediaflow.catalog import assets, findings, locations, passages, work
from mediaflow.catalog.failures import give_up
from mediaflow.catalog.locations import Candidate, Scope
from mediaflow.models.encoders import text_space
from mediaflow.models.identity import embed_text_model, task_model
from mediaflow.ops.forget import forget
from mediaflow.queues import connection, recovery
from mediaflow.queues.jobs import queue
from mediaflow.queues.lineage import child_id
from mediaflow.settings import load_settings


class Bench:
    """A worker's place whose child answers what the test says."""

    def __init__(self, client: Redis, *answers: dict[str, Any]) -> None:
        self.connection, self.job, self.answers = client, "job", answers
        self.before = lambda: None

    def work(self, items: Sequence[dict[str, Any]]) -> Generator[tuple[int, dict[str, Any]], None, None]:
        self.before()
        yield from zip(range(len(items)), self.answers, strict=False)

    def wait(self, seconds: float) -> bool:
        return False

    def keep(self, arguments: Sequence[Any]) -> None: ...

    def patiently(self, action: Callable[[], Any]) -> Any:
        return action()


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with connection.connect() as client:
        yield client


def located(db: sqlite3.Connection, path: bytes, job: str = "job") -> int:
    [id] = locations.enqueue(db, "default", 1, job, [Candidate(*os.path.split(path), 10, 1, None)])
    return id


HASH, OTHER = "a" * 64, "b" * 64
TEXT = text_space(load_settings())
UNIT = base64.b64encode(np.eye(1, 384, dtype="<f2").tobytes()).decode()


def image(hash: str = HASH) -> dict[str, Any]:
    """What the child says of an image."""
    return {
        "asset": hash,
        "kind": "image",
        "media": {},
        "bytes": 10,
        "pictures": 1,
        "audio": False,
        "rendition_bytes": 5,
    }


def read(text: str) -> dict[str, Any]:
    """What the child says of a page with a line of text."""
    line = {"text": text, "confidence": 0.9, "box": [[0, 0]] * 4}
    return {"asset": HASH, "data": {"text": text, "lines": [line]}, "seconds": 1.0, "vectors": []}


def rows(db: sqlite3.Connection) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in db.execute("SELECT task, model, state FROM work")}


def waiting(client: Redis, name: str) -> list[list[Any]]:
    return [list(job.args) for job in queue(name, client).get_jobs()]


def test_prepare_asks_for_what_applies_and_skips_what_does_not(db: sqlite3.Connection, client: Redis) -> None:
    id = located(db, b"/a/x.jpg")
    assert stages.prepare(Bench(client, image()), 1, [id], ["ocr", "transcribe"]) is None
    assert rows(db) == {
        ("ocr", task_model("ocr"), "wanted"),
        ("transcribe", task_model("transcribe"), "skipped"),
    }
    [[run, task, model, items]] = waiting(client, "ocr")
    assert (run, task, model, items) == (1, "ocr", task_model("ocr"), [{"asset": HASH}])


def test_two_copies_in_two_jobs_are_analysed_once(db: sqlite3.Connection, client: Redis) -> None:
    first, second = located(db, b"/a/x.jpg"), located(db, b"/a/y.jpg", "other")
    for id in (first, second):
        stages.prepare(Bench(client, image()), 1, [id], ["ocr"])
    assert len(waiting(client, "ocr")) == 1


def test_prepare_again_after_a_crash_enqueues_only_what_was_lost(
    db: sqlite3.Connection, client: Redis
) -> None:
    id = located(db, b"/a/x.jpg")
    for _ in range(3):
        stages.prepare(Bench(client, image()), 1, [id], ["ocr"])
    assert len(waiting(client, "ocr")) == 1
    client.flushall()
    stages.prepare(Bench(client, image()), 1, [id], ["ocr"])
    assert len(waiting(client, "ocr")) == 1


def test_what_is_left_when_the_worker_stops_is_handed_back(db: sqlite3.Connection, client: Redis) -> None:
    ids = [located(db, f"/a/{n}.jpg".encode()) for n in range(3)]
    left = stages.prepare(Bench(client, image()), 7, ids, ["ocr"])
    assert left == [7, ids[1:], ["ocr"]]


def test_a_file_forgotten_while_it_was_prepared_leaves_nothing(db: sqlite3.Connection, client: Redis) -> None:
    id = located(db, b"/a/x.jpg")
    bench = Bench(client, image())
    bench.before = lambda: forget(db, locations.Scope("default"))  # type: ignore[assignment]
    assert stages.prepare(bench, 1, [id], ["ocr"]) is None
    assert assets.by_hash(db, HASH) is None
    assert rows(db) == set()


def test_a_result_of_a_forgotten_asset_is_dropped(db: sqlite3.Connection, client: Redis) -> None:
    stages.store(Bench(client), 1, "ocr", "m", [read("text")])
    assert db.execute("SELECT COUNT(*) FROM findings").fetchone()[0] == 0


@pytest.fixture
def page(db: sqlite3.Connection, client: Redis) -> int:
    """A prepared page of which `ocr` and `embed` are wanted."""
    stages.prepare(Bench(client, image()), 1, [located(db, b"/a/x.jpg")], ["ocr", "embed"])
    client.flushall()
    return 1


def test_text_that_was_read_is_embedded_once(db: sqlite3.Connection, client: Redis, page: int) -> None:
    model = embed_text_model("ocr")
    for _ in range(2):
        stages.store(Bench(client), 1, "ocr", task_model("ocr"), [read("Rechnung")])
    assert waiting(client, "embed") == [
        [1, "embed", model, [{"asset": HASH, "source": "ocr", "texts": ["Rechnung"]}]]
    ]
    work.finish(db, page, "embed", model)
    stages.store(Bench(client), 1, "ocr", task_model("ocr"), [read("Rechnung")])
    assert len(waiting(client, "embed")) == 1


def test_more_text_than_can_be_embedded_fails_and_the_run_ends(
    db: sqlite3.Connection, client: Redis, page: int
) -> None:
    lines = [
        {"text": "a", "confidence": 0.9, "box": [[0, 0]] * 4, "time": float(number)}
        for number in range(20_001)
    ]
    found = read("") | {"data": {"text": "", "lines": lines}}
    stages.store(Bench(client), 1, "ocr", task_model("ocr"), [found])
    assert waiting(client, "embed") == []
    [(state, reason)] = db.execute("SELECT state, reason FROM work WHERE task = 'ocr'").fetchall()
    assert state == "failed"
    assert "20,001 passages" in reason
    found["data"]["lines"] = lines[1:]
    db.execute("UPDATE work SET state = 'wanted' WHERE task = 'ocr'")
    stages.store(Bench(client), 1, "ocr", task_model("ocr"), [found])
    [[_, _, _, [item]]] = waiting(client, "embed")  # no job that is refused
    assert len(item["texts"]) == 20_000


def test_files_with_much_text_do_not_come_into_one_job(db: sqlite3.Connection, client: Redis) -> None:
    bench = Bench(client, image(), image(OTHER))
    ids = [located(db, b"/a/x.jpg"), located(db, b"/a/y.jpg")]
    stages.prepare(bench, 1, ids, ["ocr", "embed"])
    client.flushall()
    lines = [{"text": "x" * 20_000, "confidence": 0.9, "box": [[0, 0]] * 4}] * 100
    found = [read("") | {"asset": hash, "data": {"text": "", "lines": lines}} for hash in (HASH, OTHER)]
    stages.store(Bench(client), 1, "ocr", task_model("ocr"), found)
    assert [len(items) for _, _, _, items in waiting(client, "embed")] == [1, 1]


def test_text_that_changed_is_embedded_again_and_its_old_vectors_go(
    db: sqlite3.Connection, client: Redis, page: int
) -> None:
    stages.store(Bench(client), 1, "ocr", task_model("ocr"), [read("Rechnung")])
    vectors = [{"space": TEXT, "ordinal": 0, "value": UNIT}]
    embedded = {"asset": HASH, "source": "ocr", "data": {}, "vectors": vectors, "seconds": 1.0}
    bench = Bench(client)
    [bench.job] = queue("embed", client).get_job_ids()
    stages.store(bench, 1, "embed", embed_text_model("ocr"), [embedded])
    assert findings.of(db, page)["embed"]["spaces"] == [{"space": TEXT, "dimension": 384, "vectors": 1}]
    client.flushall()
    stages.store(Bench(client), 1, "ocr", task_model("ocr"), [read("Quittung")])
    assert db.execute("SELECT COUNT(*) FROM vectors").fetchone()[0] == 0
    assert waiting(client, "embed")[0][3][0]["texts"] == ["Quittung"]
    client.flushall()
    stages.store(
        Bench(client), 1, "ocr", task_model("ocr"), [{**read(""), "data": {"text": "", "lines": []}}]
    )
    assert waiting(client, "embed") == []
    assert passages.of(db, page, "ocr") == []


def test_text_nobody_wants_embedded_is_kept_for_when_they_do(db: sqlite3.Connection, client: Redis) -> None:
    id = located(db, b"/a/x.jpg")
    stages.prepare(Bench(client, image()), 1, [id], ["ocr"])
    stages.store(Bench(client), 1, "ocr", task_model("ocr"), [read("Rechnung")])
    assert waiting(client, "embed") == []
    stages.prepare(Bench(client, image()), 2, [id], ["embed"])
    sources = [items[0].get("source") for _, _, _, items in waiting(client, "embed")]
    assert set(sources) == {None, "ocr"}


def test_a_file_that_was_replaced_while_it_was_read_is_left_to_its_new_job(
    db: sqlite3.Connection, client: Redis
) -> None:
    id = located(db, b"/a/x.jpg")
    bench = Bench(client, image())

    def replaced() -> None:
        seen = db.execute("SELECT changed FROM locations").fetchone()[0]
        locations.enqueue(db, "default", 2, "new", [Candidate(b"/a", b"x.jpg", 11, 2, seen)])

    bench.before = replaced
    assert stages.prepare(bench, 1, [id], ["ocr"]) is None
    row = db.execute("SELECT state, asset, job FROM locations").fetchone()
    assert tuple(row) == ("queued", None, "new")
    bench.job = "new"
    bench.before = lambda: None
    stages.prepare(bench, 2, [id], ["ocr"])
    assert db.execute("SELECT state FROM locations").fetchone()[0] == "done"


def test_a_file_that_vanished_takes_its_lost_work_with_it(db: sqlite3.Connection, client: Redis) -> None:
    id = located(db, b"/a/x.jpg")
    stages.prepare(Bench(client, image()), 1, [id], ["ocr"])
    client.flushall()
    seen = db.execute("SELECT changed FROM locations").fetchone()[0]
    locations.enqueue(db, "default", 1, "healing", [Candidate(b"/a", b"x.jpg", 10, 1, seen)])
    bench = Bench(client, {"reason": "No such file", "permanent": False, "blameless": True})
    bench.job = "healing"
    stages.prepare(bench, 1, [id], ["ocr"])
    assert work.completeness(db) == {"complete": True, "open": 0, "failed": 1}
    assert not work.open_tasks(db, Scope("default"))


def test_findings_wait_under_the_name_of_their_job(db: sqlite3.Connection, client: Redis) -> None:
    bench = Bench(client, {"data": {}, "vectors": [], "seconds": 1.0})
    items = [{"asset": HASH}, {"asset": OTHER}]
    left = stages.analyse(bench, 1, "ocr", task_model("ocr"), items)
    assert left == [1, "ocr", task_model("ocr"), items[1:]]
    assert "job" in recovery.live_jobs(client, ["index"])


def test_a_model_that_was_changed_meanwhile_does_nobodys_work(db: sqlite3.Connection, client: Redis) -> None:
    assert stages.analyse(Bench(client), 1, "ocr", "old model", [{"asset": HASH}]) is None
    [[_, _, model, [result]]] = waiting(client, "index")
    assert model == "old model"
    assert "changed meanwhile" in result["reason"]


def test_an_index_that_cannot_follow_costs_no_finding(
    db: sqlite3.Connection, client: Redis, page: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_INDEX__SNAPSHOT_EVERY", "1")
    load_settings.cache_clear()
    (home / "index").write_text("a file where the folder should be")
    value = base64.b64encode(np.eye(1, 768, dtype="<f2").tobytes()).decode()
    vectors = [{"space": task_model("embed"), "ordinal": n, "value": value} for n in range(3)]
    result = {"asset": HASH, "data": {}, "vectors": vectors, "seconds": 1.0}
    stages.store(Bench(client), 1, "embed", task_model("embed"), [result])
    assert ("embed", task_model("embed"), "done") in rows(db)


def test_a_job_given_up_is_listed_with_its_reason(db: sqlite3.Connection, client: Redis) -> None:
    first, second = located(db, b"/a/x.jpg"), located(db, b"/a/y.jpg", "prepare-2")
    stages.prepare(Bench(client, image()), 1, [first], ["ocr"])
    analysis = queue("ocr", client).get_job_ids()[0]
    give_up(db, child_id(analysis, "store"), "the catalog was full")
    give_up(db, "prepare-2", "the disk was full")
    assert rows(db) == {("ocr", task_model("ocr"), "failed")}
    row = db.execute("SELECT state, reason FROM locations WHERE id = ?", (second,)).fetchone()
    assert tuple(row) == ("failed", "the disk was full")
