"""Submit: what is enqueued when, told by path, size and time alone. No worker runs here: jobs are counted."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from mediaflow.catalog import assets, locations, runs, work
from mediaflow.catalog.database import transaction
from mediaflow.errors import UnreachableError, UsageError
from mediaflow.ops.plan import Plan, plan
from mediaflow.ops.submit import dry_run, leave_out_emptied, submit
from mediaflow.queues import connection
from mediaflow.queues.jobs import queue
from tests.installation import paint, paint_many

NOBODY = 65534


@pytest.fixture
def client(colours: Path, redis_url: str) -> Iterator[Redis]:
    with connection.connect() as client:
        yield client


@pytest.fixture
def pile(tmp_path: Path) -> Path:
    """A folder with 10 pictures, two of them in a folder of their own."""
    paint_many(tmp_path / "pile", 8)
    paint_many(tmp_path / "pile" / "below", 2, first=8)
    return tmp_path / "pile"


@contextmanager
def as_nobody(*folders: Path) -> Iterator[None]:
    """Have the rights of an ordinary user who owns these folders, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    for folder in folders:
        for above in folder.parents:
            if above.stat().st_mode & 0o077 == 0:
                above.chmod(0o755)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def run(
    db: sqlite3.Connection,
    client: Redis,
    *paths: Path,
    tasks: list[str] | None = None,
    exclude: tuple[str, ...] = (),
) -> runs.Count:
    made = plan([str(path) for path in paths], "default", tasks, exclude)
    leave_out_emptied(db, made)
    number = runs.begin(db, "default", made.scope.roots, made.tasks)
    return submit(db, lambda: client, made, number)


def never() -> Redis:
    raise AssertionError("the queue was asked for")


def enqueued(client: Redis) -> list[int]:
    """The locations in the jobs that wait to be prepared."""
    return [id for job in queue("prepare", client).get_jobs() for id in job.args[1]]


def finish(db: sqlite3.Connection, client: Redis, *tasks: str) -> None:
    """Do what workers would: every file is its own asset, and its tasks are done."""
    with transaction(db):
        for row in db.execute("SELECT id, folder, name FROM locations WHERE state = 'queued'").fetchall():
            asset = assets.add(db, os.fsdecode(os.path.join(row[1], row[2])), "image", 1, {})
            locations.prepared(db, row[0], asset)
            for task in tasks or ("look",):
                work.finish(db, asset, task, task)
    client.flushall()


def test_every_file_is_enqueued_once(db: sqlite3.Connection, client: Redis, pile: Path) -> None:
    count = run(db, client, pile)
    assert (count.files, count.new, count.known) == (10, 10, 0)
    assert len(enqueued(client)) == 10
    again = run(db, client, pile)
    assert (again.files, again.new, again.known) == (10, 0, 10)
    assert len(enqueued(client)) == 10


def test_jobs_are_as_large_as_the_settings_say(db: sqlite3.Connection, client: Redis, pile: Path) -> None:
    run(db, client, pile)
    assert sorted(len(job.args[1]) for job in queue("prepare", client).get_jobs()) == [2, 8]


def test_a_folder_in_which_nothing_changed_needs_no_queue(
    db: sqlite3.Connection, client: Redis, pile: Path
) -> None:
    run(db, client, pile)
    finish(db, client)
    made = plan([str(pile)], "default", None, ())
    assert submit(db, never, made, 2).known == 10


def test_a_new_a_changed_and_a_touched_file_are_enqueued_again(
    db: sqlite3.Connection, client: Redis, pile: Path
) -> None:
    run(db, client, pile)
    finish(db, client)
    paint(pile / "new.png", seed=99)
    paint(pile / "grey-0000.png", "cyan", seed=98)
    os.utime(pile / "grey-0001.png", (1, 1))
    assert run(db, client, pile).new == 3
    assert len(enqueued(client)) == 3


def test_a_task_asked_for_later_is_the_only_one_that_is_enqueued(
    db: sqlite3.Connection, client: Redis, pile: Path
) -> None:
    run(db, client, pile)
    finish(db, client)
    count = run(db, client, pile, tasks=["late"])
    assert (count.new, count.known) == (0, 10)
    assert {tuple(job.args[2]) for job in queue("prepare", client).get_jobs()} == {("late",)}
    assert len(enqueued(client)) == 10


def test_jobs_that_the_queue_lost_are_enqueued_again_and_no_others(
    db: sqlite3.Connection, client: Redis, pile: Path
) -> None:
    run(db, client, pile)
    with transaction(db):
        for id in enqueued(client)[:4]:
            asset = assets.add(db, f"asset {id}", "image", 1, {})
            locations.prepared(db, id, asset)
            work.finish(db, asset, "look", "look")
    client.flushall()
    count = run(db, client, pile)
    assert (count.new, count.known) == (0, 10)
    assert len(enqueued(client)) == 6


def test_analysis_that_the_queue_lost_is_wanted_again(
    db: sqlite3.Connection, client: Redis, pile: Path
) -> None:
    run(db, client, pile)
    finish(db, client)
    db.execute("UPDATE work SET state = 'wanted', job = 'lost' WHERE asset IN (1, 2)")
    run(db, client, pile)
    assert len(enqueued(client)) == 2


def test_a_file_that_vanished_is_marked_and_one_that_is_back_is_not_enqueued(
    db: sqlite3.Connection, client: Redis, pile: Path, tmp_path: Path
) -> None:
    run(db, client, pile)
    finish(db, client)
    shutil.move(pile / "below", tmp_path / "elsewhere")
    assert run(db, client, pile).gone == 2
    assert run(db, client, pile).gone == 0
    shutil.move(tmp_path / "elsewhere", pile / "below")
    assert run(db, client, pile).new == 0
    assert enqueued(client) == []
    assert db.execute("SELECT COUNT(*) FROM locations WHERE gone IS NOT NULL").fetchone()[0] == 0


def test_what_is_excluded_is_not_gone(db: sqlite3.Connection, client: Redis, pile: Path) -> None:
    run(db, client, pile)
    finish(db, client)
    assert run(db, client, pile, exclude=("below", "grey-0003*")).gone == 0
    assert db.execute("SELECT COUNT(*) FROM locations WHERE gone IS NOT NULL").fetchone()[0] == 0


def test_what_cannot_be_read_is_not_gone(
    db: sqlite3.Connection, client: Redis, pile: Path, home: Path
) -> None:
    paint(pile / "below" / "deep" / "x.png", seed=50)
    run(db, client, pile)
    finish(db, client)
    (pile / "below").chmod(0)
    try:
        with as_nobody(pile, home):
            count = run(db, client, pile)
    finally:
        (pile / "below").chmod(0o755)
    assert (count.files, count.gone) == (8, 0)
    assert db.execute("SELECT COUNT(*) FROM locations WHERE gone IS NOT NULL").fetchone()[0] == 0


def test_an_emptied_root_is_refused_and_changes_nothing(
    db: sqlite3.Connection, client: Redis, pile: Path
) -> None:
    run(db, client, pile)
    finish(db, client)
    shutil.rmtree(pile)
    with pytest.raises(UsageError, match="does not exist"):
        run(db, client, pile)
    pile.mkdir()
    with pytest.raises(UsageError, match=r"is empty now, but 10 files of it are known.*mounted"):
        run(db, client, pile)
    assert db.execute("SELECT COUNT(*) FROM locations WHERE gone IS NOT NULL").fetchone()[0] == 0


def test_an_empty_root_that_never_held_anything_is_fine(
    db: sqlite3.Connection, client: Redis, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(db, client, tmp_path / "empty").files == 0


def test_mediaflows_own_files_are_not_media(
    db: sqlite3.Connection, client: Redis, home: Path, pile: Path
) -> None:
    paint(home / "renditions" / "ab" / "abc" / "page-0001.jpg", seed=1)
    count = run(db, client, pile.parent)
    assert count.files == 10
    with pytest.raises(UsageError, match="MEDIAFLOW_HOME"):
        plan([str(home / "renditions")], "default", None, ())


def test_a_dry_run_changes_nothing(db: sqlite3.Connection, client: Redis, pile: Path) -> None:
    made = plan([str(pile)], "default", None, ())
    count, lacking = dry_run(db, made)
    assert (count.files, count.new, lacking) == (10, 10, 0)
    run(db, client, pile)
    finish(db, client)
    before = "\n".join(db.iterdump())
    count, lacking = dry_run(db, plan([str(pile)], "default", ["late"], ()))
    assert (count.new, count.known, lacking) == (0, 10, 10)
    assert "\n".join(db.iterdump()) == before
    assert enqueued(client) == []


def test_the_same_file_by_two_roots_is_enqueued_once(
    db: sqlite3.Connection, client: Redis, pile: Path
) -> None:
    run(db, client, pile, pile / "below", pile / "grey-0000.png")
    assert len(enqueued(client)) == 10


def test_libraries_are_separate(db: sqlite3.Connection, client: Redis, pile: Path) -> None:
    run(db, client, pile)
    other = Plan(plan([str(pile)], "other", None, ()).scope, ["look"], {"look": "look"})
    assert submit(db, lambda: client, other, 2).new == 10


def test_a_failure_is_tried_again_by_submits_a_few_times(
    db: sqlite3.Connection, client: Redis, pile: Path
) -> None:
    run(db, client, pile)
    finish(db, client)
    db.execute("UPDATE work SET state = 'failed', reason = 'x', attempts = 1, due = 9e9 WHERE asset = 1")
    db.execute("UPDATE work SET state = 'failed', reason = 'x', attempts = 3 WHERE asset = 2")
    db.execute("UPDATE work SET state = 'failed', reason = 'x', permanent = 1 WHERE asset = 3")
    run(db, client, pile)
    assert len(enqueued(client)) == 1


def test_names_that_are_no_text_are_enqueued_and_can_be_read_in_the_dashboard(
    db: sqlite3.Connection, client: Redis, tmp_path: Path
) -> None:
    names = [
        b"caf\xe9.png",
        b"new\nline.png",
        b"\x1b[31mred.png",
        b"[bold]rich[bold].png",
        b"\xed\xb3\xbf.png",
    ]
    (tmp_path / "odd").mkdir()
    for number, name in enumerate(names):
        paint(tmp_path / "odd" / "x.png", seed=number).rename(tmp_path / "odd" / os.fsdecode(name))
    assert run(db, client, tmp_path / "odd").new == len(names)
    [job] = queue("prepare", client).get_jobs()
    assert job.description.isprintable()
    known = locations.paths(db, job.id, enqueued(client))
    assert {os.path.split(path)[1] for path, *_ in known.values()} == set(names)


def test_unknown_tasks_and_paths_are_wrong_usage(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no task 'dance'. Tasks are: look, late"):
        plan([str(tmp_path)], "default", ["dance"], ())
    with pytest.raises(UsageError, match="does not exist"):
        plan([str(tmp_path / "nowhere")], "default", None, ())


def test_with_nothing_running_it_says_what_to_start(
    db: sqlite3.Connection, colours: Path, pile: Path
) -> None:
    made = plan([str(pile)], "default", None, ())
    with pytest.raises(UnreachableError, match="mediaflow up"):
        submit(db, connection.connect, made, 1)
