"""The disk fills: nothing is spoilt, what can be read is read, and with room again the work goes on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mediaflow.catalog import assets, database, locations
from mediaflow.catalog.locations import Candidate
from mediaflow.errors import CatalogError, StorageError
from mediaflow.index import snapshot
from mediaflow.index.file import write
from mediaflow.index.reader import SpaceReader
from mediaflow.queues import connection, embedded
from tests.disks import Disk, small_disk
from tests.installation import Installation, answer, mediaflow, paint_many, until
from tests.test_index import SPACE, add, unit


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Disk]:
    """A disk of some megabytes with this test's home on it."""
    with small_disk(tmp_path / "disk") as found:
        monkeypatch.setenv("MEDIAFLOW_HOME", str(found.home))
        yield found


def add_many(db: sqlite3.Connection) -> None:
    """More than the disk takes."""
    for number in range(50_000):
        assets.add(db, f"lost{number}", "image", 1, {})


def is_sound(db: sqlite3.Connection) -> bool:
    return [row[0] for row in db.execute("PRAGMA integrity_check")] == ["ok"]


def test_a_write_says_which_disk_is_full_and_leaves_nothing_half(disk: Disk) -> None:
    with closing(database.connect()) as db:
        with database.transaction(db):
            assets.add(db, "kept", "image", 1, {})
        disk.fill(leave=200_000)
        with pytest.raises(StorageError, match=f"disk {disk.folder} is full"), database.transaction(db):
            add_many(db)
        assert not db.in_transaction
        assert is_sound(db)
        assert [row[0] for row in db.execute("SELECT hash FROM assets")] == ["kept"]
        disk.free()
        with database.transaction(db):
            assets.add(db, "later", "image", 1, {})
        assert is_sound(db)


def test_the_walk_is_told_that_the_disk_is_full_and_can_be_done_again(disk: Disk) -> None:
    files = [Candidate(b"/a/" + b"x" * 200, f"{n}.jpg".encode(), 1, 1, None) for n in range(20_000)]
    with closing(database.connect()) as db:
        disk.fill(leave=300_000)
        with pytest.raises(StorageError), database.transaction(db):
            locations.enqueue(db, "default", 1, "job", files)
        assert db.execute("SELECT COUNT(*) FROM locations").fetchone()[0] == 0
        disk.free()
        with database.transaction(db):
            assert len(locations.enqueue(db, "default", 1, "job", files[:2000])) == 2000


def test_a_savepoint_on_a_full_disk_says_so_and_not_that_it_is_gone(disk: Disk) -> None:
    with closing(database.connect()) as db:
        disk.fill(leave=200_000)
        with pytest.raises(StorageError), database.transaction(db), database.savepoint(db):
            add_many(db)
        assert is_sound(db)


def test_a_catalog_that_all_have_closed_can_be_read_on_a_full_disk(disk: Disk) -> None:
    """SQLite makes a file for it anew, for which there is no room."""
    with closing(database.connect()) as db, database.transaction(db):
        assets.add(db, "kept", "image", 1, {})
    disk.fill()
    for _ in range(2):
        with closing(database.connect()) as db:
            assert db.execute("SELECT hash FROM assets").fetchone()[0] == "kept"
            assert is_sound(db)
    disk.free()
    with closing(database.connect()) as db, database.transaction(db):
        assets.add(db, "later", "image", 1, {})


def test_a_catalog_cannot_be_made_on_a_full_disk_and_says_why(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(StorageError, match="is full"):
        database.connect()


def test_a_snapshot_that_does_not_fit_leaves_the_last_one(disk: Disk) -> None:
    with closing(database.connect()) as db:
        values = unit(4000)
        ids = add(db, values[:100])
        first = snapshot.build(db, SPACE)
        ids += add(db, values[100:])
        disk.fill(leave=60_000)
        with pytest.raises(StorageError, match="is full"):
            snapshot.build(db, SPACE)
        assert snapshot.current(db, SPACE) == first
        assert not list(snapshot.space_folder(SPACE).glob("*.partial"))
        reader = SpaceReader(SPACE)
        reader.refresh(db)
        assert reader.search(values[3000], 1)[0][0] == ids[3000]
        disk.free()
        assert snapshot.build(db, SPACE).count == 4000


def test_an_index_of_which_the_last_bytes_do_not_fit_is_refused(disk: Disk) -> None:
    """FAISS by itself writes those when it closes the file, and does not look whether it could."""
    import faiss

    index = faiss.IndexFlatIP(16)
    index.add(np.zeros((2000, 16), np.float32))
    size = 2000 * 64
    disk.fill(leave=size)  # a page less than the file with its head
    with pytest.raises(OSError, match="No space left"):
        write(index, disk.home / "x")


def test_a_damaged_catalog_says_so_when_it_is_read(disk: Disk) -> None:
    with closing(database.connect()) as db, database.transaction(db):
        for number in range(3000):
            assets.add(db, f"{number}", "image", 1, {})
    path = database.catalog_path()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 4))
    with pytest.raises(CatalogError, match="damaged.*doctor"), closing(database.connect()) as db:
        list(db.execute("SELECT * FROM assets"))


def test_commands_answer_from_the_catalog_on_a_full_disk(disk: Disk) -> None:
    with closing(database.connect()) as db:
        add(db, unit(3))
    disk.fill()
    for command in (["status"], ["runs"], ["failures"], ["search", "rechnung", "--in", "name"], ["export"]):
        done = mediaflow(*command)
        assert done.returncode == 0, command
        assert done.stderr in ("", "Nothing was submitted yet. Begin with: mediaflow submit --wait FOLDER\n")
    done = mediaflow("index", "rebuild")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert f"disk {disk.folder} is full" in done.stderr
    done = mediaflow("up")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) <= 3
    assert "full" in done.stderr


@pytest.mark.slow
def test_the_embedded_queue_on_a_full_disk_refuses_writes_and_goes_on_with_room(disk: Disk) -> None:
    process = embedded.start()
    try:
        client = connection.connect()
        client.set("kept", "yes")
        disk.fill()
        from redis.exceptions import ResponseError

        def refused() -> bool:
            try:
                client.set("more", "x" * 10_000)
            except ResponseError as error:
                return "MISCONF" in str(error)
            return False

        until(refused, "it refuses to be written")
        assert client.get("kept") == b"yes"
        disk.free()
        until(lambda: not refused(), "it takes writes again")
        process.kill()
        process.wait()
        process = embedded.start()
        assert connection.connect().get("kept") == b"yes"
    finally:
        embedded.stop(process)


@pytest.mark.slow
def test_what_was_submitted_goes_on_by_itself_when_there_is_room_again(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mediaflow.settings import load_settings
    from tests.conftest import ROOT

    monkeypatch.setenv("MEDIAFLOW_CONFIGS", str(ROOT / "tests" / "configs"))
    load_settings.cache_clear()
    running = Installation(disk.home)
    try:
        running.up()
        paint_many(tmp_path / "pile", 12, "cyan")
        assert mediaflow("submit", str(tmp_path / "pile")).returncode == 0
        until(lambda: running.states().get("done", 0) >= 2, "some are done")
        disk.fill()
        assert answer("status")["redis"]["reachable"]
        time.sleep(4)
        disk.free()
        until(lambda: running.open() == 0, "all work is done", 120)
        assert running.states() == {"done": 12}
        assert answer("failures") == []
        with closing(database.connect()) as db:
            assert is_sound(db)
    finally:
        disk.free()
        running.end()
