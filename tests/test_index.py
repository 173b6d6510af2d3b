"""The index: snapshots are a cache of the catalog's vectors, and a search is right with or without them."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mediaflow.catalog import assets, findings
from mediaflow.catalog.database import connect, transaction
from mediaflow.index import inverted, snapshot
from mediaflow.index.inverted import WANTED_RECALL
from mediaflow.index.labels import path_of
from mediaflow.index.reader import Among, SpaceReader

DIMENSION = 16
SPACE = "a space/with: odd characters"


def unit(count: int, seed: int = 0, dimension: int = DIMENSION) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def add(db: sqlite3.Connection, values: np.ndarray, space: str = SPACE) -> list[int]:
    """One asset with one picture vector for each row; the assets' ids."""
    ids = []
    with transaction(db):
        for number, value in enumerate(values):
            asset = assets.add(db, f"{space}-{number}-{time.time_ns()}", "image", 1, {})
            findings.store_vectors(db, asset, space, ["picture"], [("picture", 0, None, None, value)])
            ids.append(asset)
    return ids


def best(db: sqlite3.Connection, query: np.ndarray, reader: SpaceReader | None = None) -> int:
    """The asset of the nearest vector, as a search finds it."""
    reader = SpaceReader(SPACE) if reader is None else reader
    reader.refresh(db)
    for id, _ in reader.search(query, 10):
        if row := db.execute("SELECT asset FROM vectors WHERE id = ?", (id,)).fetchone():
            return int(row[0])
    return -1


def test_a_reader_finds_what_was_stored_a_moment_ago(db: sqlite3.Connection) -> None:
    values = unit(30)
    ids = add(db, values[:10])
    snapshot.build(db, SPACE)
    reader = SpaceReader(SPACE)
    assert best(db, values[3], reader) == ids[3]
    ids += add(db, values[10:20])
    assert best(db, values[15], reader) == ids[15]
    snapshot.build(db, SPACE)
    ids += add(db, values[20:])
    assert best(db, values[3], reader) == ids[3]
    assert best(db, values[25], reader) == ids[25]
    assert len(reader) == 30


def test_a_deleted_vector_is_not_found_though_the_snapshot_has_it(db: sqlite3.Connection) -> None:
    values = unit(10)
    ids = add(db, values)
    snapshot.build(db, SPACE)
    assets.forget(db, ids[4])
    assert best(db, values[4]) in set(ids) - {ids[4]}


def test_follow_makes_a_snapshot_when_enough_is_new(db: sqlite3.Connection) -> None:
    add(db, unit(5))
    assert snapshot.follow(db, 10) == []
    add(db, unit(6, seed=1))
    assert [made.count for made in snapshot.follow(db, 10)] == [11]
    assert snapshot.follow(db, 10) == []


@pytest.mark.parametrize("damage", ["missing", "cut", "garbage", "empty", "description", "no description"])
def test_a_damaged_snapshot_is_not_used_and_made_anew(db: sqlite3.Connection, damage: str) -> None:
    values = unit(20)
    ids = add(db, values)
    made = snapshot.build(db, SPACE)
    folder = snapshot.space_folder(SPACE)
    file, description = folder / made.file, folder / "current.json"
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "garbage":
        file.write_bytes(b"\x00" * len(whole))
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "description":
        description.write_text('{"space": 3')
    else:
        description.unlink()
    assert best(db, values[7]) == ids[7]
    assert snapshot.rebuild(db)[0].count == 20
    assert best(db, values[7]) == ids[7]


def test_a_snapshot_of_another_catalog_is_not_used(db: sqlite3.Connection, home: Path) -> None:
    add(db, unit(20, seed=1))
    snapshot.build(db, SPACE)
    db.close()
    for file in home.glob("catalog.sqlite*"):
        file.unlink()
    with closing(connect()) as fresh:
        values = unit(30, seed=2)
        ids = add(fresh, values)
        assert snapshot.current(fresh, SPACE) is None
        assert best(fresh, values[5]) == ids[5]


def test_a_snapshot_from_after_the_backup_is_not_used(
    db: sqlite3.Connection, home: Path, tmp_path: Path
) -> None:
    values = unit(20)
    ids = add(db, values[:5])
    with closing(sqlite3.connect(tmp_path / "backup.sqlite")) as backup:
        db.backup(backup)
    add(db, unit(10, seed=3))
    snapshot.build(db, SPACE)
    with closing(sqlite3.connect(tmp_path / "backup.sqlite")) as backup:
        backup.backup(db)
    assert snapshot.current(db, SPACE) is None
    assert best(db, values[2]) == ids[2]


def test_only_the_newest_files_are_kept(db: sqlite3.Connection) -> None:
    for round in range(3):
        add(db, unit(3, seed=round))
        made = snapshot.build(db, SPACE)
    folder = snapshot.space_folder(SPACE)
    (folder / ".old.1.partial").write_bytes(b"left by a process that was killed")
    made = snapshot.build(db, SPACE)
    labels = path_of(folder / made.file).name
    assert {file.name for file in folder.iterdir()} == {made.file, labels, "current.json", "lock"}


def test_spaces_do_not_mix(db: sqlite3.Connection) -> None:
    values = unit(5)
    add(db, values, "one")
    add(db, unit(5, seed=9), "two")
    assert {made.space for made in snapshot.rebuild(db)} == {"one", "two"}
    reader = SpaceReader("two")
    reader.refresh(db)
    assert len(reader) == 5


@pytest.mark.slow
def test_recall_of_the_inverted_file_is_as_high_as_it_says(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "EXACT_UP_TO", 5000)
    centres = unit(200, dimension=64)
    noise = unit(20_000, seed=1, dimension=64)
    values = centres[np.arange(20_000) % 200] + 0.7 * noise
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    add(db, values)
    made = snapshot.build(db, SPACE)
    assert made.probes > 0
    assert made.recall >= WANTED_RECALL
    reader = SpaceReader(SPACE)
    reader.refresh(db)
    queries = values[::200] + 0.1 * unit(100, seed=2, dimension=64)
    ids = np.array([row[0] for row in db.execute("SELECT id FROM vectors ORDER BY id")])
    hits = 0
    for query in queries:
        truth = set(ids[np.argsort(-(values @ query))[:10]])
        hits += len(truth & {id for id, _ in reader.search(query.astype(np.float32), 10)})
    assert hits / 1000 >= 0.97


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_whole_pair(home: Path) -> None:
    script = (
        "from contextlib import closing\n"
        "from mediaflow.catalog.database import connect\n"
        "from mediaflow.index.snapshot import rebuild\n"
        "db = connect()\n"
        "print('ready', flush=True)\n"
        "while True: rebuild(db)\n"
    )
    with closing(connect()) as db:
        values = unit(3000)
        ids = add(db, values)
        snapshot.build(db, SPACE)
        for round in range(8):
            with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(0.01 + 0.03 * round)
                process.send_signal(signal.SIGKILL)
            found = snapshot.current(db, SPACE)
            assert found is not None
            assert found.count == 3000
            assert best(db, values[round]) == ids[round]
        snapshot.rebuild(db)
        assert not list(snapshot.space_folder(SPACE).glob("*.partial"))


@pytest.mark.slow
def test_writers_at_once_leave_a_whole_pair(home: Path) -> None:
    script = (
        "from mediaflow.catalog.database import connect\n"
        "from mediaflow.index.snapshot import rebuild\n"
        "db = connect()\n"
        "for _ in range(8): rebuild(db)\n"
    )
    with closing(connect()) as db:
        values = unit(500)
        ids = add(db, values)
        processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
        while any(process.poll() is None for process in processes):
            ids += add(db, unit(1, seed=len(ids)))
            assert best(db, values[7]) == ids[7]
        assert [process.returncode for process in processes] == [0, 0, 0]
        assert snapshot.current(db, SPACE) is not None
    assert json.loads((snapshot.space_folder(SPACE) / "current.json").read_text())["space"] == SPACE


def test_a_snapshot_from_after_the_backup_is_not_used_when_its_ids_are_given_away_again(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    add(db, unit(5))
    with closing(sqlite3.connect(tmp_path / "backup.sqlite")) as backup:
        db.backup(backup)
        add(db, unit(10, seed=3))
        snapshot.build(db, SPACE)
        backup.backup(db)
    values = unit(20, seed=4)
    ids = add(db, values)
    assert snapshot.current(db, SPACE) is None
    assert best(db, values[2]) == ids[2]


@pytest.mark.parametrize("kind", ["exact", "inverted"])
def test_wherever_a_byte_of_a_snapshot_is_wrong_search_is_right(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(snapshot, "EXACT_UP_TO", 100 if kind == "inverted" else 1000)
    values = unit(800)
    ids = add(db, values)
    made = snapshot.build(db, SPACE)
    path = snapshot.space_folder(SPACE) / made.file
    whole = path.read_bytes()
    for position in [*range(64), *range(64, len(whole), len(whole) // 64), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        assert best(db, values[7]) == ids[7]


def test_an_inverted_file_is_read_though_a_code_after_its_head_is_wrong(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is after the head is not read before a search: it would take too long."""
    from mediaflow.index import file, reader

    for module in (file, reader):
        monkeypatch.setattr(module, "HEAD", 1000)
    add(db, unit(800))
    made = snapshot.build(db, SPACE)
    path = snapshot.space_folder(SPACE) / made.file
    assert file.digest(path) == made.sha256
    damaged = bytearray(path.read_bytes())
    damaged[2000] ^= 1
    path.write_bytes(damaged)
    opened = SpaceReader(SPACE)
    opened.refresh(db)
    assert opened._opened is not None
    assert file.digest(path) != made.sha256


def test_a_large_snapshot_is_extended_and_made_again_when_it_has_grown_by_half(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "EXACT_UP_TO", 500)
    values = unit(2000)
    ids = add(db, values[:1000])
    first = snapshot.build(db, SPACE)
    ids += add(db, values[1000:1400])
    for asset in ids[:100]:
        assets.forget(db, asset)
    [second] = snapshot.follow(db, 100)
    assert (second.count, second.trained, second.probes) == (1300, 1000, first.probes)
    reader = SpaceReader(SPACE)
    for number in (100, 999, 1000, 1399):
        assert best(db, values[number], reader) == ids[number]
    assert len(reader) == 1300
    assert reader._opened is not None
    assert len(reader._opened.labels.ids) == 1300
    assert set(reader._opened.labels.assets) == set(ids[100:])
    assert all(id not in ids[:100] for id, _ in reader.search(values[5], 1300))
    ids += add(db, values[1400:])
    [third] = snapshot.follow(db, 100)
    assert (third.count, third.trained) == (1900, 1900)


@pytest.mark.parametrize("damaged", ["*.faiss", "*.npz"])
def test_a_damaged_snapshot_is_not_extended(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    monkeypatch.setattr(snapshot, "EXACT_UP_TO", 500)
    values = unit(1200)
    ids = add(db, values[:1000])
    snapshot.build(db, SPACE)
    [path] = snapshot.space_folder(SPACE).glob(damaged)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    ids += add(db, values[1000:])
    [made] = snapshot.follow(db, 100)
    assert (made.count, made.trained) == (1200, 1200)
    assert best(db, values[1100]) == ids[1100]


def test_what_is_newer_than_a_snapshot_is_bounded(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MAX_TAIL", 20)
    add(db, unit(1000))
    made = snapshot.build(db, SPACE)
    add(db, unit(20, seed=1))
    assert not snapshot.lags(db, SPACE, made, 5)
    add(db, unit(1, seed=2))
    assert snapshot.lags(db, SPACE, made, 5)


def test_chosen_vectors_are_found_in_whatever_lists_they_are(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "EXACT_UP_TO", 500)
    monkeypatch.setattr(inverted, "WANTED_RECALL", 0.0)
    values = unit(2000)
    ids = np.array(add(db, values))
    made = snapshot.build(db, SPACE)
    assert made.probes == 8, "of 256 lists"
    reader = SpaceReader(SPACE)
    reader.refresh(db)
    for query in unit(20, seed=1):
        chosen = np.random.default_rng(1).choice(2000, 30, replace=False)
        found = reader.search(query, 10, among=Among(ids[chosen], ["picture"]))
        truth = ids[chosen][np.argsort(-(values[chosen] @ query))[:10]]
        assert len({id for id, _ in found} & set(truth.tolist())) >= 9
        assert reader.search(query, 10, among=Among(ids[chosen], ["speech"])) == []
        assert reader.search(query, 10, among=Among(ids[:0], ["picture"])) == []
