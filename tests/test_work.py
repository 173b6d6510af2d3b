"""The ledger: what is wanted, done, failed, given up, and what a submit still has to enqueue."""

from __future__ import annotations

import os
import sqlite3

import pytest

from mediaflow.catalog import assets, locations, passages, undone, work
from mediaflow.catalog.locations import Candidate, Scope
from mediaflow.catalog.passages import Passage
from mediaflow.settings import load_settings

ALL = Scope("default")


@pytest.fixture
def asset(db: sqlite3.Connection) -> int:
    """A prepared image at /a/x.jpg."""
    return prepared(db, b"/a/x.jpg", "hash")


def prepared(db: sqlite3.Connection, path: bytes, hash: str) -> int:
    [id] = locations.enqueue(db, "default", 1, "job", [Candidate(*os.path.split(path), 10, 1, None)])
    asset = assets.add(db, hash, "image", 10, {})
    locations.prepared(db, id, asset)
    return asset


def lacking(
    db: sqlite3.Connection, live: set[str], texts: dict[str, str] | None = None, **models: str
) -> set[bytes]:
    return {file.name for file in work.lacking(db, ALL, models, texts or {}, live.__contains__)}


def test_work_is_wanted_once_while_its_job_lives(db: sqlite3.Connection, asset: int) -> None:
    assert work.want(db, asset, "ocr", "m", "job-1")
    assert not work.want(db, asset, "ocr", "m", "job-2", live={"job-1"})
    assert work.want(db, asset, "ocr", "m", "job-3", live=set())


def test_work_that_is_done_or_does_not_apply_is_not_wanted_again(db: sqlite3.Connection, asset: int) -> None:
    work.finish(db, asset, "ocr", "m")
    work.skip(db, asset, "transcribe", "m")
    assert not work.want(db, asset, "ocr", "m", "job")
    assert not work.want(db, asset, "transcribe", "m", "job")
    assert work.want(db, asset, "ocr", "another model", "job")


def test_a_failure_is_tried_again_a_few_times_and_then_settled(db: sqlite3.Connection, asset: int) -> None:
    for _ in range(load_settings().retries.attempts):
        assert work.want(db, asset, "ocr", "m", "job")
        work.fail(db, asset, "ocr", "m", "no luck", permanent=False)
    assert not work.want(db, asset, "ocr", "m", "job")


def test_what_is_no_fault_of_the_file_is_tried_for_ever_and_ever_more_seldom(
    db: sqlite3.Connection, asset: int
) -> None:
    pauses = []
    for _ in range(30):
        assert work.want(db, asset, "ocr", "m", "job")
        work.fail(db, asset, "ocr", "m", "no model", permanent=False, blameless=True)
        pauses.append(db.execute("SELECT due - changed FROM work").fetchone()[0])
    assert pauses[0] < 1000 < pauses[5] < pauses[-1] < 2 * 24 * 3600
    assert work.open_tasks(db, ALL) == {}, "nobody waits for it"


def test_a_failure_that_is_tried_again_soon_is_open_until_it_is_given_up(
    db: sqlite3.Connection, asset: int
) -> None:
    work.want(db, asset, "ocr", "m", "job")
    work.fail(db, asset, "ocr", "m", "no luck", permanent=False)
    assert work.open_tasks(db, ALL) == {"ocr": 1}
    assert work.completeness(db) == {"complete": False, "open": 1, "failed": 0}
    for _ in range(load_settings().retries.attempts - 1):
        work.want(db, asset, "ocr", "m", "job")
        work.fail(db, asset, "ocr", "m", "no luck", permanent=False)
    assert work.open_tasks(db, ALL) == {}
    assert work.completeness(db) == {"complete": True, "open": 0, "failed": 1}


def test_a_failure_that_is_told_twice_counts_once(db: sqlite3.Connection, asset: int) -> None:
    work.want(db, asset, "ocr", "m", "job")
    for _ in range(2):
        work.fail(db, asset, "ocr", "m", "no luck", permanent=False)
    assert db.execute("SELECT attempts FROM work").fetchone()[0] == 1


def test_a_permanent_failure_is_settled_at_once(db: sqlite3.Connection, asset: int) -> None:
    work.fail(db, asset, "ocr", "m", "broken", permanent=True)
    assert not work.want(db, asset, "ocr", "m", "job")
    assert lacking(db, set(), ocr="m") == set()


def test_a_late_failure_does_not_undo_what_is_done(db: sqlite3.Connection, asset: int) -> None:
    work.finish(db, asset, "ocr", "m")
    work.fail(db, asset, "ocr", "m", "the second worker died", permanent=False)
    assert db.execute("SELECT state FROM work").fetchall()[0][0] == "done"


def test_success_wipes_earlier_failures_out(db: sqlite3.Connection, asset: int) -> None:
    work.fail(db, asset, "ocr", "m", "no luck", permanent=False)
    work.finish(db, asset, "ocr", "m")
    assert tuple(db.execute("SELECT state, reason, attempts FROM work").fetchone()) == ("done", None, 0)


def test_a_file_lacks_what_was_never_asked_for_and_what_was_lost(db: sqlite3.Connection, asset: int) -> None:
    assert lacking(db, set(), ocr="m") == {b"x.jpg"}
    work.want(db, asset, "ocr", "m", "job-1")
    assert lacking(db, {"job-1"}, ocr="m") == set()
    assert lacking(db, set(), ocr="m") == {b"x.jpg"}
    work.finish(db, asset, "ocr", "m")
    assert lacking(db, set(), ocr="m") == set()
    assert lacking(db, set(), ocr="another model") == {b"x.jpg"}


def test_text_lacks_the_space_of_a_new_text_model(db: sqlite3.Connection, asset: int) -> None:
    work.finish(db, asset, "embed", "images")
    passages.replace(db, asset, "ocr", [Passage("Rechnung")])
    work.finish(db, asset, "embed", "old/ocr")
    assert lacking(db, set(), {"ocr": "old/ocr", "speech": "old/speech"}, embed="images") == set()
    assert lacking(db, set(), {"ocr": "new/ocr", "speech": "new/speech"}, embed="images") == {b"x.jpg"}


def test_what_is_gone_lacks_nothing_and_is_not_open(db: sqlite3.Connection, asset: int) -> None:
    work.want(db, asset, "ocr", "m", "job")
    locations.enqueue(db, "default", 1, "job", [Candidate(b"/a", b"queued.jpg", 1, 1, None)])
    assert work.open_tasks(db, ALL) == {"prepare": 1, "ocr": 1}
    assert work.completeness(db) == {"complete": False, "open": 2, "failed": 0}
    locations.mark_gone(db, "default", b"/a", [b"x.jpg", b"queued.jpg"])
    assert lacking(db, set(), ocr="m") == set()
    assert work.open_tasks(db, ALL) == {}
    assert work.completeness(db) == {"complete": True, "open": 0, "failed": 0}


def test_what_another_model_left_unfinished_is_dropped_and_what_it_found_kept(
    db: sqlite3.Connection, asset: int
) -> None:
    for model in ("old", "older", "new"):
        work.want(db, asset, "ocr", model, "job")
    work.finish(db, asset, "ocr", "older")
    work.want(db, asset, "nsfw", "old", "job")
    work.drop_unfinished(db, asset, "ocr", ["new"])
    rows = {tuple(row) for row in db.execute("SELECT task, model, state FROM work")}
    assert rows == {("ocr", "older", "done"), ("ocr", "new", "wanted"), ("nsfw", "old", "wanted")}


def test_giving_up_a_job_fails_only_what_still_waits_for_it(db: sqlite3.Connection, asset: int) -> None:
    other = prepared(db, b"/a/y.jpg", "other")
    work.want(db, asset, "ocr", "m", "job")
    work.want(db, other, "ocr", "m", "job")
    work.finish(db, asset, "ocr", "m")
    work.give_up(db, "job", "the disk is full")
    rows = {row[0]: (row[1], row[2]) for row in db.execute("SELECT asset, state, reason FROM work")}
    assert rows == {asset: ("done", None), other: ("failed", "the disk is full")}


def test_changed_text_is_embedded_again_whatever_the_model(db: sqlite3.Connection, asset: int) -> None:
    for model in ("images", "a/ocr", "b/ocr", "a/speech"):
        work.finish(db, asset, "embed", model)
    work.forget_text(db, asset, "ocr")
    assert {row[0] for row in db.execute("SELECT model FROM work")} == {"images", "a/speech"}


def test_a_file_with_any_failed_task_counts_as_failed_once(db: sqlite3.Connection, asset: int) -> None:
    other = prepared(db, b"/a/y.jpg", "other")
    work.finish(db, other, "ocr", "m")
    for task in ("ocr", "nsfw"):
        work.fail(db, asset, task, "m", "broken", permanent=True)
    assert work.tally(db, ALL) == {"files": 2, "failed": 1, "open": 0, "done": 1}


def test_looking_for_what_is_left_undone_reads_no_whole_table(db: sqlite3.Connection) -> None:
    """It is done every few seconds, whatever the size of the catalog."""
    asked: list[str] = []
    db.set_trace_callback(asked.append)
    work.jobs(db)
    undone.due(db)
    db.set_trace_callback(None)
    for statement in asked:
        steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
        assert not [step for step in steps if step in ("SCAN work", "SCAN locations")], steps
