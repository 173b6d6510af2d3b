"""The full-text tables: filled once from an older catalog, also after kills, and true to its rows."""

from __future__ import annotations

import io
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mediaflow.catalog import assets, fulltext, passages
from mediaflow.catalog.database import connect
from mediaflow.catalog.passages import Passage
from mediaflow.catalog.schema import MIGRATIONS
from mediaflow.search.filters import Condition
from mediaflow.search.words import search_names, search_passages

BEFORE = 4  # the last version with tables that SQLite cut into words
EVERY = Condition("1", ())
COUNT = 300


@pytest.fixture
def old(home: Path) -> Path:
    """A catalog of the version before: COUNT files, each with a passage, and text divided between two."""
    path = home / "catalog.sqlite"
    with closing(sqlite3.connect(path)) as db:
        for script in MIGRATIONS[:BEFORE]:
            db.executescript(script)
        db.execute(f"PRAGMA user_version = {BEFORE}")
        numbers = range(1, COUNT + 1)
        db.executemany(
            "INSERT INTO assets (id, hash, kind, bytes, media, added) VALUES (?, ?, 'image', 1, '{}', 0)",
            ((n, str(n)) for n in numbers),
        )
        db.executemany(
            "INSERT INTO locations (id, library, folder, name, words, size, mtime_ns, asset, state, changed)"
            " VALUES (?, 'default', x'2f61', ?, ?, 1, 1, ?, 'done', 0)",
            ((n, b"%d.png" % n, f"Mu\u0308nchen{n}.png a", n) for n in numbers),
        )
        db.executemany(
            "INSERT INTO passages (id, asset, source, ordinal, text) VALUES (?, ?, 'ocr', ?, ?)",
            [(n, n, 0, f"Größe von {n} ガソリンスタンド Versicherungs-") for n in numbers]
            + [(1000, 1, 1, "bestätigung")],
        )
        db.commit()
    return path


def found(db: sqlite3.Connection, query: str) -> int:
    return len(search_passages(db, query, ["ocr"], EVERY))


def unindexed(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return sum(db.execute(f"SELECT COUNT(*) FROM {n}_unindexed").fetchone()[0] for n in fulltext.NAMES)


def is_complete(db: sqlite3.Connection) -> bool:
    return found(db, "Groesse") == COUNT and all(fulltext.is_whole(db, name) for name in fulltext.NAMES)


def test_an_older_catalog_is_searched_as_a_new_one_is(old: Path) -> None:
    with closing(connect()) as db:
        assert is_complete(db)
        assert found(db, "スタンド") == COUNT
        assert found(db, "Versicherungsbestätigung") == 1
        assert search_names(db, "München300", EVERY)[0].asset == 300


KILLED = """
import os, signal, sys
from mediaflow.catalog import fulltext
from mediaflow.catalog.database import connect
fulltext.BATCH = 40
whole, batches = fulltext.index, []
def index(db, name, limit):
    whole(db, name, limit)
    batches.append(name)
    if len(batches) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
fulltext.index = index
connect()
"""


@pytest.mark.parametrize(("batch", "left"), [(1, 601), (3, 521), (12, 180)])
def test_a_kill_in_the_middle_costs_its_batch_and_the_next_goes_on(old: Path, batch: int, left: int) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(batch)], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert unindexed(old) == left
    with closing(connect()) as db:
        assert is_complete(db)
    assert unindexed(old) == 0


def test_all_that_open_it_at_once_take_turns(old: Path) -> None:
    code = "from mediaflow.catalog import fulltext\nfulltext.BATCH = 20\n"
    code += "from mediaflow.catalog.database import connect\nconnect()"
    ended = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in ended] == [0, 0, 0]
    assert unindexed(old) == 0
    with closing(connect()) as db:
        assert is_complete(db)


def test_any_program_may_write_and_remove_passages(old: Path) -> None:
    connect().close()
    with closing(sqlite3.connect(old)) as db:
        db.execute("INSERT INTO passages (asset, source, ordinal, text) VALUES (2, 'ocr', 1, 'Nachträge')")
        db.execute("DELETE FROM passages WHERE asset = 3")
        db.execute("DELETE FROM locations WHERE id = 300")
        db.commit()
    with closing(connect()) as db:
        assert found(db, "Nachtraege") == 1
        assert found(db, "Groesse") == COUNT - 1
        assert not search_names(db, "München300", EVERY)
        assert all(fulltext.is_whole(db, name) for name in fulltext.NAMES)


def test_what_is_replaced_or_forgotten_leaves_nothing_behind(db: sqlite3.Connection) -> None:
    asset = assets.add(db, "hash", "image", 1, {})
    passages.replace(db, asset, "ocr", [Passage("Rechnung für Käse")])
    passages.replace(db, asset, "ocr", [Passage("Quittung"), Passage("zwei")])
    assert (found(db, "Kaese"), found(db, "Quittung")) == (0, 1)
    assets.forget(db, asset)
    assert not db.execute("SELECT 1 FROM passages_words UNION SELECT 1 FROM passages_unindexed").fetchone()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM passages_words WHERE rowid = 7",
        "INSERT INTO passages_words (rowid, words) VALUES (9999, 'x')",
    ],
)
def test_rows_that_are_missing_or_too_many_are_noticed_and_made_again(old: Path, damage: str) -> None:
    with closing(connect()) as db:
        db.execute(damage)
        assert not fulltext.is_whole(db, "passages")
        fulltext.rebuild(db, "passages")
        assert is_complete(db)


def test_a_pipe_gets_one_line_of_progress(
    old: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fulltext, "MIN_SHOWN", 100)
    monkeypatch.setattr(fulltext, "BATCH", 50)
    connect().close()
    connect().close()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "mediaflow: indexing 601 texts for search, once after an update\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_how_far_it_is(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(fulltext, "MIN_SHOWN", 100)
    monkeypatch.setattr(fulltext, "BATCH", 100)
    connect().close()
    lines = screen.getvalue().split("\r")[1:]
    shares = [int(line.split()[-2]) for line in lines]
    assert shares == sorted(shares)
    assert (len(shares), shares[-1], lines[-1][-1]) == (7, 100, "\n")


@pytest.mark.parametrize("stream", ["none", "closed"])
def test_it_needs_no_standard_error(old: Path, monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(fulltext, "MIN_SHOWN", 1)
    monkeypatch.setattr(sys, "stderr", None if stream == "none" else closed)
    with closing(connect()) as db:
        assert is_complete(db)
