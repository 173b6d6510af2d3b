"""The catalog: opened by many, brought up to date, refused when it cannot be trusted."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mediaflow.catalog import assets, database, runs
from mediaflow.catalog.schema import MIGRATIONS
from mediaflow.errors import CatalogError


def test_a_new_catalog_is_at_the_newest_version(db: sqlite3.Connection) -> None:
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_an_older_catalog_is_brought_up_to_date_and_keeps_what_it_holds(home: Path, version: int) -> None:
    path = home / "catalog.sqlite"
    with closing(sqlite3.connect(path)) as old:
        database.add_functions(old)
        for script in MIGRATIONS[:version]:
            old.executescript(script)
        old.execute(f"PRAGMA user_version = {version}")
        old.execute("INSERT INTO assets (hash, kind, bytes, media, added) VALUES ('h', 'image', 1, '{}', 0)")
        old.commit()
    with closing(database.connect()) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
        assert assets.by_hash(db, "h") is not None


def test_a_catalog_of_a_newer_mediaflow_is_refused(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(CatalogError, match="newer mediaflow"):
        database.connect()


def test_a_file_that_is_no_catalog_is_refused_with_its_path(home: Path) -> None:
    (home / "catalog.sqlite").write_bytes(b"this is no database" * 1000)
    with pytest.raises(CatalogError, match=r"catalog\.sqlite is damaged"):
        database.connect()


def test_what_fails_within_a_transaction_leaves_nothing_behind(db: sqlite3.Connection) -> None:
    with suppress(RuntimeError), database.transaction(db):
        assets.add(db, "h", "image", 1, {})
        raise RuntimeError
    assert assets.by_hash(db, "h") is None


def test_a_savepoint_is_undone_alone(db: sqlite3.Connection) -> None:
    with database.transaction(db):
        assets.add(db, "kept", "image", 1, {})
        with suppress(RuntimeError), database.savepoint(db):
            assets.add(db, "undone", "image", 1, {})
            raise RuntimeError
        assets.add(db, "too", "image", 1, {})
    assert [row[0] for row in db.execute("SELECT hash FROM assets ORDER BY id")] == ["kept", "too"]


def test_a_statement_that_breaks_a_rule_is_no_trouble_of_the_catalog(db: sqlite3.Connection) -> None:
    """A worker would wait for it to pass, for ever."""
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"), database.transaction(db):
        db.execute("INSERT INTO assets (hash, kind, bytes, media, added) VALUES ('h', 'poem', 1, '{}', 0)")


# An error after which SQLite has undone the transaction itself, as after one about a full disk.
UNDONE = "INSERT OR ROLLBACK INTO assets (hash, kind, bytes, media, added) VALUES ('h', 'image', 1, '', 0)"


def test_a_transaction_that_sqlite_undid_itself_says_why_it_did(db: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint"), database.transaction(db):
        db.executemany(UNDONE, [(), ()])
    assert not db.in_transaction
    assert assets.by_hash(db, "h") is None


def test_a_savepoint_that_sqlite_undid_itself_says_why_it_did(db: sqlite3.Connection) -> None:
    with (
        pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint"),
        database.transaction(db),
        database.savepoint(db),
    ):
        db.executemany(UNDONE, [(), ()])
    assert not db.in_transaction


def test_a_commit_that_fails_is_undone(db: sqlite3.Connection) -> None:
    def break_a_rule_that_commit_looks_at() -> None:
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.execute("INSERT INTO findings VALUES (7, 'ocr', 'm', '{}', 1, 1)")

    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"), database.transaction(db):
        break_a_rule_that_commit_looks_at()
    assert not db.in_transaction
    with database.transaction(db):
        assets.add(db, "later", "image", 1, {})


def test_a_commit_is_on_the_disk_when_it_is_made(db: sqlite3.Connection) -> None:
    """Else a power cut would take back vectors of which a snapshot has the ids."""
    assert db.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_catalog_that_another_process_holds_says_so(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    with (
        database.transaction(db),
        closing(database.connect()) as other,
        pytest.raises(CatalogError, match="Another process"),
        database.transaction(other),
    ):
        pass


def test_an_asset_is_one_however_often_it_is_added(db: sqlite3.Connection) -> None:
    first = assets.add(db, "h", "image", 1, {"width": 1})
    again = assets.add(db, "h", "image", 1, {"width": 2})
    assert first == again
    assert assets.by_id(db, first)["media"] == '{"width": 2}'


def test_roots_that_are_no_utf_8_are_remembered(db: sqlite3.Connection) -> None:
    run = runs.begin(db, "default", [b"/caf\xe9"], ["ocr"])
    row = runs.by_number(db, run)
    assert row is not None
    assert row["roots"] == '["/caf\\udce9"]'


@pytest.mark.slow
def test_processes_that_open_a_new_catalog_at_once_all_get_it(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from mediaflow.catalog.database import connect\n"
        "db = connect(pathlib.Path(sys.argv[1]))\n"
        "print(db.execute('PRAGMA user_version').fetchone()[0])"
    )
    for round in range(3):
        command = [sys.executable, "-c", script, str(tmp_path / f"{round}.sqlite")]
        processes = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(6)
        ]
        for process in processes:
            out, err = process.communicate(timeout=60)
            assert out.decode().strip() == str(len(MIGRATIONS)), err.decode()
