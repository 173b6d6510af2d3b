"""Failures and retry: listed with their reason, filtered, and tried again for what failed and no more."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from mediaflow.catalog import assets, locations, runs, work
from mediaflow.catalog.database import transaction
from mediaflow.catalog.failures import dismiss, failures
from mediaflow.catalog.locations import Candidate, Scope
from mediaflow.ops.retry import retry
from mediaflow.queues import connection
from mediaflow.queues.jobs import queue

ALL = Scope("default")


@pytest.fixture
def failed(db: sqlite3.Connection, colours: Path) -> dict[str, int]:
    """Three files: one that could not be prepared, one whose `look` failed for good, one all well."""
    ids = {}
    with transaction(db):
        run = runs.begin(db, "default", [b"/a"], ["late"])
        for name in ("broken", "dark", "fine"):
            file = Candidate(b"/a", f"{name}.png".encode(), 10, 1, None)
            [ids[name]] = locations.enqueue(db, "default", run, "job", [file])
        locations.failed(db, ids["broken"], "the file is empty", permanent=True)
        for name in ("dark", "fine"):
            asset = assets.add(db, name, "image", 10, {})
            locations.prepared(db, ids[name], asset)
            work.finish(db, asset, "late", "late")
        work.fail(db, 1, "look", "look", "took longer than 2 seconds", permanent=True)
    return ids


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with connection.connect() as client:
        yield client


def test_each_failure_is_listed_with_stage_reason_and_attempts(
    db: sqlite3.Connection, failed: dict[str, int]
) -> None:
    found = {(f.path, f.stage, f.reason, f.attempts) for f in failures(db, ALL)}
    assert found == {
        ("/a/broken.png", "prepare", "the file is empty", 1),
        ("/a/dark.png", "look", "took longer than 2 seconds", 1),
    }


def test_they_can_be_filtered(db: sqlite3.Connection, failed: dict[str, int]) -> None:
    def paths(*arguments: object) -> list[str]:
        return [os.path.split(failure.path)[1] for failure in failures(db, *arguments)]  # type: ignore[arg-type]

    assert paths(ALL, ["prepare"]) == ["broken.png"]
    assert paths(ALL, [], "LONGER") == ["dark.png"]
    assert paths(Scope("default", (b"/a/broken.png",))) == ["broken.png"]
    assert paths(Scope("default", (b"/b",))) == []
    assert paths(Scope("other")) == []


def test_a_file_that_is_gone_has_not_failed(db: sqlite3.Connection, failed: dict[str, int]) -> None:
    locations.mark_gone(db, "default", b"/a", [b"broken.png", b"dark.png"])
    assert failures(db, ALL) == []


def test_retry_enqueues_each_file_for_what_failed(
    db: sqlite3.Connection, failed: dict[str, int], client: Redis
) -> None:
    retry(db, client, "default", failures(db, ALL))
    jobs = {tuple(job.args[1]): job.args[2] for job in queue("prepare", client).get_jobs()}
    # What could not be prepared is wanted for the tasks that its own submit asked for.
    assert jobs == {(failed["broken"],): ["late"], (failed["dark"],): ["look"]}
    assert work.want(db, 1, "look", "look", "job"), "it is not settled any more"


def test_retry_of_some_leaves_the_others(
    db: sqlite3.Connection, failed: dict[str, int], client: Redis
) -> None:
    retry(db, client, "default", failures(db, ALL, ["look"]))
    assert [job.args[1] for job in queue("prepare", client).get_jobs()] == [[failed["dark"]]]
    assert not work.want(db, 1, "late", "late", "job")
    assert [failure.attempts for failure in failures(db, ALL, ["prepare"])] == [1]


def test_what_is_dismissed_is_not_listed_counted_or_tried_again(
    db: sqlite3.Connection, failed: dict[str, int]
) -> None:
    work.fail(db, 2, "look", "look", "a disk that cannot be read", permanent=False, blameless=True)
    assert work.completeness(db)["failed"] == 3
    dismiss(db, ALL, failures(db, ALL))
    assert failures(db, ALL) == []
    assert len(failures(db, ALL, with_dismissed=True)) == 3
    assert work.completeness(db) == {"complete": True, "open": 0, "failed": 0}
    assert work.tally(db, ALL) == {"files": 2, "failed": 0, "open": 0, "done": 2}
    assert [failure.due for failure in failures(db, ALL, with_dismissed=True)] == [None] * 3
    assert not work.lacking(db, ALL, {"look": "look"}, {}, lambda _: True)


def test_a_dismissed_file_that_has_changed_may_fail_again(
    db: sqlite3.Connection, failed: dict[str, int]
) -> None:
    dismiss(db, ALL, failures(db, ALL))
    seen = locations.known_in(db, "default", b"/a")[b"broken.png"].changed
    locations.enqueue(db, "default", 2, "job", [Candidate(b"/a", b"broken.png", 11, 2, seen)])
    locations.failed(db, failed["broken"], "the file is damaged", permanent=True)
    assert [failure.reason for failure in failures(db, ALL)] == ["the file is damaged"]


def test_retry_takes_a_dismissal_back(db: sqlite3.Connection, failed: dict[str, int], client: Redis) -> None:
    dismiss(db, ALL, failures(db, ALL, ["look"]))
    retry(db, client, "default", failures(db, ALL, ["look"], with_dismissed=True))
    assert {failure.stage for failure in failures(db, ALL)} == {"prepare", "look"}
