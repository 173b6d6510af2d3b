"""Roots and files that submit cannot use: each costs itself, is told, and the rest is done."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installation import ROOT, Installation, answer, mediaflow, paint, paint_many

NOISE = random.Random(1).randbytes(4000)
# What lies beside photos and claims to be no medium: real first bytes, then noise.
NEIGHBOURS = {
    "a.lrprev": b"AgHg" + NOISE,
    "b.lrcat": b"SQLite format 3\0" + NOISE,
    "c.xcf": b"gimp xcf file\0" + NOISE,
    "d.bup": b"DVDVIDEO-VTS" + NOISE,
    "e.pek": NOISE[:999],
    "f.asd": b"",
    "g.plist2": b'<?xml version="1.0"?><plist/>',
    "h.zip2": b"PK\3\4" + NOISE,
    "i.dcm": bytes(128) + b"DICM" + NOISE,
    "no-ending": b"just a few words without an ending\n",
    "index.ts": b"export const answer: number = 42\n",
    "lib.mts": b"export {}\n" * 50,
}


@pytest.mark.slow
def test_neighbours_of_photos_are_skipped_by_kind_and_never_opened_again(
    installation: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "pile"
    paint(folder / "photo.png")
    (folder / "letter.pdf").write_bytes(b"%PDF-1.7\n")
    for name, content in NEIGHBOURS.items():
        (folder / name).write_bytes(content)
    done = answer("submit", str(folder), "--wait")
    assert (done["done"], done["failed"]) == (1, 0)
    assert done["endings"] == {
        ".pdf": 1, ".ts": 1, ".mts": 1, "no ending": 1,
        **{Path(name).suffix: 1 for name in NEIGHBOURS if "." in name},
    }  # fmt: skip
    assert not answer("failures")
    again = mediaflow("submit", str(folder), "--wait")
    assert again.returncode == 0
    assert "1 .pdf" in again.stderr
    assert installation.ask("SELECT COUNT(*) FROM locations WHERE state = 'skipped'") == [(len(NEIGHBOURS),)]
    status = answer("status")
    assert status["complete"]
    assert (status["open"], status["failed"]) == (0, 0)


@pytest.mark.slow
def test_what_claims_to_be_a_medium_and_is_none_has_failed(
    installation: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "pile"
    paint(folder / "photo.png")
    (folder / "letter.jpg").write_bytes(b"Dear Sir or Madam,\n" * 20)
    (folder / "empty.mp4").write_bytes(b"")
    half = (folder / "photo.png").read_bytes()[:60]
    (folder / "lost-ending").write_bytes(half)  # begins like a picture, so somebody will miss it
    done = answer("submit", str(folder), "--wait", status=1)
    assert (done["done"], done["failed"]) == (1, 3)
    reasons = {Path(each["path"]).name: each["reason"] for each in answer("failures")}
    assert reasons["letter.jpg"] == "not a media file: it looks like text"
    assert reasons["empty.mp4"] == "the file is empty"
    assert "PNG" in reasons["lost-ending"]


@pytest.mark.slow
def test_a_time_out_of_range_costs_nothing(installation: Installation, tmp_path: Path) -> None:
    first, second, third = paint_many(tmp_path / "pile", 3)
    for path, year in ((first, 2300), (second, 1600)):
        os.utime(path, (0, int((year - 1970) * 365.25 * 86400)))
    done = mediaflow("submit", str(tmp_path / "pile"), "--wait")
    assert done.returncode == 0, done.stderr
    assert f"{first.name}: its modification time is out of range" in done.stderr
    assert installation.states() == {"done": 3}
    assert "after 2262" in mediaflow("list", "--warnings", str(first)).stdout
    for command in (["status"], ["runs"], ["show", str(first)], ["show", str(second)]):
        assert mediaflow(*command).returncode == 0, command
    again = answer("submit", str(tmp_path / "pile"), "--wait")
    assert (again["new"], again["known"]) == (0, 3)
    assert third.exists()


@pytest.mark.slow
def test_a_root_that_cannot_be_used_costs_only_itself(installation: Installation, tmp_path: Path) -> None:
    good, emptied, missing = tmp_path / "good", tmp_path / "emptied", tmp_path / "missing"
    paint(good / "a.png")
    second = paint(emptied / "b.png", seed=5)
    answer("submit", str(emptied), "--wait")
    second.unlink()
    done = mediaflow("submit", str(good), str(emptied), str(missing), "--wait", "--json")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert (said["files"], said["done"], said["failed"]) == (1, 1, 0)
    assert {each["path"]: each["reason"] for each in said["problems"]} == {
        str(emptied): "is empty now, but 1 file of it is known: is its disk mounted?",
        str(missing): "does not exist",
    }
    for path in (emptied, missing):
        assert str(path) in done.stderr
    assert installation.ask("SELECT COUNT(*) FROM locations WHERE gone IS NOT NULL") == [(0,)]
    alone = mediaflow("submit", str(emptied), str(missing), "--wait")
    assert alone.returncode == 2
    assert "is its disk mounted?\n" in alone.stderr
    assert "does not exist" in alone.stderr


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_a_folder_that_may_not_be_read_is_counted_and_told(colours: Path, tmp_path: Path) -> None:
    pile = tmp_path / "pile"
    paint(pile / "open" / "a.png")
    closed = pile / "open" / "closed"
    paint(closed / "b.png")
    for folder in (closed, tmp_path / "root"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0)
    # Root may read everything; without these rights it is like any other user.
    rights = "--bounding-set=-dac_override,-dac_read_search"
    command = [
        *(["setpriv", rights] if os.geteuid() == 0 else []),
        sys.executable,
        "-m",
        "mediaflow",
        "submit",
    ]
    command += [str(pile), str(tmp_path / "root"), "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "1 file: 1 new" in done.stdout, done.stderr
    for folder in (closed, tmp_path / "root"):
        assert f"{folder} could not be read: Permission denied" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    "command",
    [
        ["submit", ""],
        ["forget", ""],
        ["export", ""],
        ["failures", ""],
        ["retry", ""],
        ["show", ""],
        ["submit", ".", "--library", ""],
        ["submit", ".", "--tasks", ""],
        ["submit", ".", "--exclude", ""],
        ["forget", ".", "--library", " "],
    ],
    ids=" ".join,
)
def test_an_empty_argument_is_refused(colours: Path, command: list[str]) -> None:
    done = mediaflow(*command)
    assert done.returncode == 2
    assert "empty" in done.stderr or "names no task" in done.stderr or "needs a pattern" in done.stderr


def test_a_tilde_stands_for_the_home_folder_unless_a_file_here_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mediaflow.names import absolute_path

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute_path("~/photos") == "/home/me/photos"
    (tmp_path / "~draft").touch()
    assert absolute_path("~draft") == str(tmp_path / "~draft")
    assert absolute_path("a/../b/") == str(tmp_path / "b")


def test_a_dry_run_leaves_nothing_behind(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path / "pile" / "a.png")
    (tmp_path / "pile" / "b.pdf").write_bytes(b"%PDF")
    monkeypatch.setenv("MEDIAFLOW_HOME", str(tmp_path / "never"))
    done = mediaflow("submit", str(tmp_path / "pile"), "--dry-run", "--exclude", "Scanz/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "1 file: 1 new, 0 known, 0 incomplete.",
        "Skipped, not supported: 1 .pdf.",
        "Dry run: nothing was queued.",
    ]
    assert "--exclude Scanz/ matched nothing." in done.stderr
    assert not (tmp_path / "never").exists()
