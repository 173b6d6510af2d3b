"""The command line: what it answers, how it ends, and how it says no. No models are loaded here."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from mediaflow.catalog import assets, findings, locations, runs, work
from mediaflow.catalog.database import connect, transaction
from mediaflow.catalog.locations import Candidate
from tests.installation import answer, mediaflow, paint

pytestmark = pytest.mark.slow  # each command is a process of its own

ODD = [
    b"caf\xe9.png",
    b"new\nline.png",
    b"tab\there.png",
    b"\x1b[31mred\x1b[0m.png",
    b"[bold red]rich[bold].png",
    b"\xe2\x80\xaertl.png",
    b"--json",
    "日本語 ß.png".encode(),
]


@pytest.fixture
def known(colours: Path, tmp_path: Path) -> Path:
    """A folder with files of odd names that were analysed, the first of which failed."""
    folder = os.fsencode(tmp_path / "pile")
    with closing(connect()) as db, transaction(db):
        run = runs.begin(db, "default", [folder], ["look"])
        for number, name in enumerate(ODD):
            [id] = locations.enqueue(db, "default", run, "job", [Candidate(folder, name, 10, 1, None)])
            asset = assets.add(db, f"{number:064x}", "image", 10, {"width": 1, "height": 1, "format": "PNG"})
            locations.prepared(db, id, asset)
            if number:
                findings.store(db, asset, "look", "look", {"colour": "grey"}, 0.5)
                work.finish(db, asset, "look", "look")
            else:
                work.fail(db, asset, "look", "look", "a reason\nwith \x1b[31mcolour", True)
    return tmp_path / "pile"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["submit", "/nowhere"], 2, "/nowhere does not exist"),
        (["submit", "/tmp", "--tasks", "dance"], 2, "no task 'dance'"),
        (["worker", "dance"], 2, "no queue 'dance'"),
        (["up", "dance"], 2, "no part 'dance'"),
        (["show", "/nowhere"], 2, "is not known"),
        (["forget", "/nowhere"], 2, "is not in library"),
        (["search"], 2, "Ask for something"),
        (["search", "x", "--since", "soon"], 2, "not a date"),
        (["search", "--like", "/nowhere"], 2, "not known"),
        (["search", "--image", "/nowhere"], 2, "/nowhere"),
        (["dashboard"], 3, "mediaflow up"),
        (["worker", "prepare"], 3, "mediaflow up"),
    ],
)
def test_what_cannot_be_done_is_said_in_two_lines_at_most(
    colours: Path, arguments: list[str], status: int, words: str
) -> None:
    done = mediaflow(*arguments)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_submit_with_nothing_running_says_what_to_start(colours: Path, tmp_path: Path) -> None:
    paint(tmp_path / "pile" / "x.png")
    done = mediaflow("submit", str(tmp_path / "pile"))
    assert done.returncode == 3
    assert "mediaflow up" in done.stderr
    assert "--wait" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["submit"], ["nonsense"], ["search", "--limit", "0"], ["export", "--format", "doc"]]
)
def test_wrong_usage_ends_with_2(colours: Path, arguments: list[str]) -> None:
    done = mediaflow(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_debug_shows_where_it_came_from(colours: Path) -> None:
    done = mediaflow("--debug", "submit", "/nowhere")
    assert "Traceback" in done.stderr
    assert "UsageError" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("MEDIAFLOW_TASKS__LOOK__WORKERS", "many", "MEDIAFLOW_TASKS__LOOK__WORKERS"),
        ("MEDIAFLOW_TASKS__LOOK__COLOUR", "1", "no setting 'tasks.look.colour'"),
        ("MEDIAFLOW_NONSENSE", "1", "no setting 'nonsense'"),
        ("MEDIAFLOW_PREPARE", "{", "MEDIAFLOW_PREPARE"),
        ("MEDIAFLOW_REDIS_URL", "http://x", "MEDIAFLOW_REDIS_URL"),
    ],
)
def test_a_wrong_setting_is_named(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    paint(tmp_path / "pile" / "x.png")
    monkeypatch.setenv(variable, value)
    done = mediaflow("submit", str(tmp_path / "pile"))
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_catalog_is_said_and_not_shown_as_a_traceback(colours: Path) -> None:
    (colours / "catalog.sqlite").write_bytes(b"no database" * 1000)
    for command in (["status"], ["show", "/x"], ["search", "x"], ["failures"]):
        done = mediaflow(*command)
        assert done.returncode == 3, command
        assert "catalog.sqlite" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_catalog_that_breaks_while_it_is_read_is_said_too(known: Path, colours: Path) -> None:
    with closing(connect()) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = colours / "catalog.sqlite"
    page = 4096
    path.write_bytes(path.read_bytes()[:page] + os.urandom(path.stat().st_size - page))
    done = mediaflow("failures")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_odd_names_come_back_byte_by_byte_in_json(known: Path) -> None:
    lines = mediaflow("export").stdout.splitlines()
    exported = {os.path.split(os.fsencode(json.loads(line)["path"]))[1] for line in lines}
    assert exported == set(ODD)
    for name in ODD:
        path = os.path.join(os.fsencode(known), name)
        shown = answer("show", os.fsdecode(path))
        assert os.fsencode(shown["path"]) == path
    [failure] = answer("failures")
    assert os.fsencode(failure["path"]).endswith(ODD[0])


def test_odd_names_are_shown_in_printable_characters(known: Path) -> None:
    for command in (
        ["failures"],
        ["runs"],
        ["status"],
        *(["show", os.fsdecode(os.path.join(os.fsencode(known), name))] for name in ODD),
    ):
        done = mediaflow(*command)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        assert all(letter.isprintable() or letter in "\n\t" for letter in done.stdout), (command, done.stdout)


def test_odd_names_are_found(known: Path) -> None:
    found = answer("search", "rich", "--in", "name")
    assert [os.fsencode(result["path"]).endswith(ODD[4]) for result in found] == [True]
    assert "[bold red]rich[bold].png" in mediaflow("search", "rich", "--in", "name").stdout


def test_status_is_answered_in_the_form_of_the_contract(known: Path) -> None:
    status = answer("status")
    assert {"redis", "queues", "workers", "runs", "complete"} <= set(status)
    assert status["redis"] == {"url": None, "embedded": True, "reachable": False}
    assert status["complete"] is True
    assert status["failed"] == 1


def test_status_shows_queues_and_workers(installation: object, tmp_path: Path) -> None:
    from tests.installation import Installation

    assert isinstance(installation, Installation)
    installation.up()
    status = answer("status")
    assert all(set(q) == {"name", "waiting", "running", "failed", "workers"} for q in status["queues"])
    assert all(set(w) == {"name", "queue", "pid", "host", "state"} for w in status["workers"])
    assert {w["queue"] for w in status["workers"]} == {"prepare", "look", "index"}
    assert all(Path(f"/proc/{w['pid']}").exists() for w in status["workers"])
    assert "prepare" in mediaflow("status").stdout


def test_forget_takes_out_what_it_names_and_touches_no_original(known: Path, tmp_path: Path) -> None:
    original = paint(tmp_path / "pile" / "original.png")
    path = os.fsdecode(os.path.join(os.fsencode(known), ODD[1]))
    assert answer("forget", path) == {"locations": 1, "assets": 1}
    assert mediaflow("show", path).returncode == 2
    assert answer("forget", str(known)) == {"locations": len(ODD) - 1, "assets": len(ODD) - 1}
    assert mediaflow("export").stdout == ""
    assert original.exists()


def test_a_dry_run_says_what_would_be_and_changes_nothing(colours: Path, tmp_path: Path) -> None:
    paint(tmp_path / "pile" / "x.png")
    (tmp_path / "pile" / "notes.txt").write_text("x")
    assert answer("submit", str(tmp_path / "pile"), "--dry-run") == {
        "files": 1, "new": 1, "known": 0, "lacking": 0,
    }  # fmt: skip
    assert "nothing was queued" in mediaflow("submit", str(tmp_path / "pile"), "--dry-run").stdout
    assert answer("runs") == []


def test_a_reader_that_goes_away_is_no_error(known: Path) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        f"{sys.executable} -m mediaflow export | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout)["path"]
