"""Which work may leave this machine: a real catalog, a real server, one stage at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from jobs import stages
from mediaflow.catalog import locations, work
from mediaflow.catalog.failures import give_up
from mediaflow.catalog.locations import Candidate
from mediaflow.fleet.leaving import may_leave
from mediaflow.fleet.settings import load_fleet
from mediaflow.models.identity import embed_text_model, task_model
from mediaflow.queues import connection, recovery
from mediaflow.queues.jobs import queue
from mediaflow.queues.lineage import child_id, is_at_home
from tests.test_stages import HASH, OTHER, Bench, image, read

MODEL = task_model("ocr")


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with connection.connect() as client:
        yield client


@pytest.fixture(autouse=True)
def fleet(home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes may read what is in the library `open`, and embed it too where it is `wide`."""
    rent_for(monkeypatch, '{"open": ["ocr"], "wide": ["ocr", "embed"]}')


def rent_for(monkeypatch: pytest.MonkeyPatch, libraries: str) -> None:
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    monkeypatch.setenv("MEDIAFLOW_FLEET__LIBRARIES", libraries)
    load_fleet.cache_clear()


def located(db: sqlite3.Connection, library: str, path: bytes, job: str = "job") -> int:
    [id] = locations.enqueue(db, library, 1, job, [Candidate(*os.path.split(path), 10, 1, None)])
    return id


def prepare(
    db: sqlite3.Connection,
    client: Redis,
    library: str,
    path: bytes = b"/a/x.jpg",
    hash: str = HASH,
    tasks: tuple[str, ...] = ("ocr",),
) -> int:
    id = located(db, library, path)
    stages.prepare(Bench(client, image(hash)), 1, [id], list(tasks))
    return id


def jobs(client: Redis, name: str) -> list[tuple[bool, list[dict[str, Any]]]]:
    """Of each job that waits: whether it stays at home, and its items."""
    return [(is_at_home(job.id), job.args[3]) for job in queue(name, client).get_jobs()]


def test_what_is_in_a_library_that_is_named_may_leave(db: sqlite3.Connection, client: Redis) -> None:
    prepare(db, client, "open")
    assert jobs(client, "ocr") == [(False, [{"asset": HASH}])]


@pytest.mark.parametrize("library", ["default", "private", "Open", "open/"])
def test_what_is_in_a_library_that_is_not_named_stays(
    db: sqlite3.Connection, client: Redis, library: str
) -> None:
    prepare(db, client, library)
    assert jobs(client, "ocr") == [(True, [{"asset": HASH}])]


def test_a_task_that_is_not_named_of_a_library_stays(db: sqlite3.Connection, client: Redis) -> None:
    prepare(db, client, "open", tasks=("ocr", "nsfw"))
    assert jobs(client, "ocr") == [(False, [{"asset": HASH}])]
    assert jobs(client, "nsfw") == [(True, [{"asset": HASH}])]


def test_a_file_that_is_in_two_libraries_stays_when_it_may_not_leave_one(
    db: sqlite3.Connection, client: Redis
) -> None:
    prepare(db, client, "private", b"/p/x.jpg", tasks=())
    prepare(db, client, "open", b"/a/x.jpg")
    assert jobs(client, "ocr") == [(True, [{"asset": HASH}])]


def test_a_copy_that_is_seen_later_in_a_private_library_stops_what_has_not_left(
    db: sqlite3.Connection, client: Redis
) -> None:
    prepare(db, client, "open")
    assert may_leave(db, HASH, "ocr")
    prepare(db, client, "private", b"/p/x.jpg")
    assert not may_leave(db, HASH, "ocr")


def test_what_was_private_stays_private_when_its_copy_there_is_gone(
    db: sqlite3.Connection, client: Redis
) -> None:
    prepare(db, client, "private", b"/p/x.jpg", tasks=())
    locations.mark_gone(db, "private", b"/p", [b"x.jpg"])
    prepare(db, client, "open", b"/a/x.jpg")
    assert jobs(client, "ocr") == [(True, [{"asset": HASH}])]


def test_what_nobody_knows_stays(db: sqlite3.Connection) -> None:
    assert not may_leave(db, HASH, "ocr")


def test_files_of_one_job_that_may_and_may_not_leave_are_enqueued_apart(
    db: sqlite3.Connection, client: Redis
) -> None:
    prepare(db, client, "private", b"/p/x.jpg", HASH, tasks=())
    ids = [located(db, "open", b"/a/x.jpg"), located(db, "open", b"/a/y.jpg")]
    stages.prepare(Bench(client, image(HASH), image(OTHER)), 1, ids, ["ocr"])
    assert sorted(jobs(client, "ocr")) == [(False, [{"asset": OTHER}]), (True, [{"asset": HASH}])]


@pytest.mark.parametrize(("library", "stays"), [("open", True), ("wide", False)])
def test_text_that_was_read_leaves_only_where_embedding_may(
    db: sqlite3.Connection, client: Redis, library: str, stays: bool
) -> None:
    prepare(db, client, library, tasks=("ocr", "embed"))
    client.flushall()
    stages.store(Bench(client), 1, "ocr", MODEL, [read("Rechnung")])
    texts = {"asset": HASH, "source": "ocr", "texts": ["Rechnung"]}
    assert jobs(client, "embed") == [(stays, [texts])]


def test_what_may_not_leave_any_more_is_found_out_when_it_is_handed_out(
    db: sqlite3.Connection, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(db, client, "open")
    assert jobs(client, "ocr")[0][0] is False
    rent_for(monkeypatch, "{}")
    assert not may_leave(db, HASH, "ocr")


def test_without_a_fleet_nothing_is_marked(
    db: sqlite3.Connection, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "false")
    load_fleet.cache_clear()
    prepare(db, client, "private")
    assert jobs(client, "ocr") == [(False, [{"asset": HASH}])]


# --- what a stand-in sends home ---------------------------------------------------------------


def analyse(client: Redis, *answers: dict[str, Any], job: str = "job") -> list[Any] | None:
    bench = Bench(client, *answers)
    bench.job = job
    return stages.analyse(bench, 1, "ocr", MODEL, [{"asset": HASH}, {"asset": OTHER}][: len(answers)])


FOUND = {key: value for key, value in read("x").items() if key != "asset"}


def test_what_a_stand_in_sends_home_is_enqueued_again_to_stay(client: Redis) -> None:
    assert analyse(client, {"home": "it may not leave"}, FOUND) is None
    assert jobs(client, "ocr") == [(True, [{"asset": HASH}])]
    [[_, _, _, results]] = [job.args for job in queue("index", client).get_jobs()]
    assert [result["asset"] for result in results] == [OTHER]


def test_what_is_sent_home_is_under_way_until_it_is_done(db: sqlite3.Connection, client: Redis) -> None:
    prepare(db, client, "open")
    [given] = queue("ocr", client).get_job_ids()
    client.flushall()
    analyse(client, {"home": "it may not leave"}, job=given)
    assert recovery.live_jobs(client, ["ocr"]).awaits(given)
    [at_home] = queue("ocr", client).get_jobs()
    client.flushall()
    analyse(client, FOUND, job=at_home.id)
    [store] = queue("index", client).get_jobs()
    assert recovery.live_jobs(client, ["index"]).awaits(given)
    client.flushall()
    bench = Bench(client)
    bench.job = store.id
    stages.store(bench, *store.args)
    assert db.execute("SELECT state FROM work WHERE task = 'ocr'").fetchone()[0] == "done"


def test_a_job_at_home_that_is_given_up_lists_what_a_stand_in_sent(
    db: sqlite3.Connection, client: Redis
) -> None:
    prepare(db, client, "open")
    [given] = queue("ocr", client).get_job_ids()
    at_home = child_id(given, "ocr", at_home=True)
    for job in (at_home, child_id(at_home, "store")):
        work.want(db, 1, "ocr", MODEL, given)
        give_up(db, job, "the worker ended again and again")
        assert tuple(db.execute("SELECT state FROM work").fetchone()) == ("failed",)


def test_an_answer_says_nothing_of_another_asset(client: Redis) -> None:
    analyse(client, FOUND | {"asset": OTHER, "source": "ocr"})
    [[_, _, _, [result]]] = [job.args for job in queue("index", client).get_jobs()]
    assert result["asset"] == HASH
    assert "source" not in result


def test_text_of_a_private_file_stays(db: sqlite3.Connection, client: Redis) -> None:
    prepare(db, client, "private", tasks=("ocr", "embed"))
    client.flushall()
    stages.store(Bench(client), 1, "ocr", MODEL, [read("Rechnung")])
    assert [stays for stays, _ in jobs(client, "embed")] == [True]
    assert db.execute("SELECT 1 FROM work WHERE model = ?", (embed_text_model("ocr"),)).fetchone()
