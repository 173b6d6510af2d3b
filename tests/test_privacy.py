"""What mediaflow makes is readable by its owner only."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediaflow.catalog import assets, findings, locations
from mediaflow.catalog.locations import Candidate
from mediaflow.queues.connection import connect
from tests.installation import ROOT, Installation, answer, mediaflow, paint_many

OTHERS = 0o077


def open_to_others(folder: Path) -> list[str]:
    return [str(path) for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & OTHERS]


@pytest.fixture(autouse=True)
def loose() -> Iterator[None]:
    """A person whose files everybody may read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_home_is_private_from_its_first_command_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_HOME", str(home / "new"))
    assert mediaflow("status").returncode == 0
    assert (home / "new" / "catalog.sqlite").exists()
    assert open_to_others(home / "new") == []


def test_a_home_that_was_open_is_closed(home: Path) -> None:
    home.chmod(0o777)
    assert mediaflow("status").returncode == 0
    assert not home.stat().st_mode & OTHERS


def test_a_worker_that_is_started_by_itself_is_private_too(home: Path) -> None:
    home.chmod(0o777)
    command = [sys.executable, "-m", "workers", "nonsense"]
    assert subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 2
    assert not home.stat().st_mode & OTHERS


def test_subtitles_that_are_written_elsewhere_have_the_usual_rights(
    home: Path, db: sqlite3.Connection, tmp_path: Path
) -> None:
    [id] = locations.enqueue(db, "default", 1, "job", [Candidate(b"/a", b"talk.mp3", 10, 1, None)])
    asset = assets.add(db, "a" * 64, "audio", 10, {})
    locations.prepared(db, id, asset)
    segments = [{"start": 0.0, "end": 1.0, "text": "Guten Tag"}]
    findings.store(db, asset, "transcribe", "m", {"language": "de", "text": "", "segments": segments}, 1.0)
    assert mediaflow("export", "--format", "srt", "--out", str(tmp_path / "out")).returncode == 0
    [written] = (tmp_path / "out").iterdir()
    assert written.stat().st_mode & OTHERS == 0o066


@pytest.mark.slow
def test_all_that_a_run_leaves_is_private(installation: Installation, tmp_path: Path) -> None:
    installation.up()
    assert connect().ping()
    paint_many(tmp_path / "pile", 2)
    assert answer("submit", str(tmp_path / "pile"), "--wait")["done"] == 2
    made = {path.suffix for path in installation.home.rglob("*")}
    assert {".sqlite", ".log", ".jpg", ".webp", ".json"} <= made
    # What the tests' own tasks write down is made by the workers as well.
    assert open_to_others(installation.home) == []
