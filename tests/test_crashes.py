"""One bad file costs one file: crashes, hangs and hunger in a task's libraries, by real workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.installation import Installation, answer, mediaflow, paint, paint_many

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("colour", "reason"),
    [
        ("red", "crashed the process that analysed it (SIGSEGV)"),
        ("green", "took longer than the 2 seconds that one file may take"),
        ("blue", "took more than the 600 MB of memory that one file may take"),
        ("yellow", "ended the process that analysed it (exit status 7)"),
        ("magenta", "a colour that no task can stand"),
        ("black", "RuntimeError: something broke in the library"),
        ("white", "A vector for space colours has values that are not numbers."),
    ],
)
def test_a_file_that_breaks_the_task_is_the_only_one_that_fails(
    colours: Path, tmp_path: Path, colour: str, reason: str
) -> None:
    running = Installation(colours)
    paint_many(tmp_path / "pile", 6)
    bad = paint(tmp_path / "pile" / "grey-0002a.png", colour)
    done = answer("submit", str(tmp_path / "pile"), "--wait", status=1)
    assert (done["files"], done["done"], done["failed"]) == (7, 6, 1)
    [failure] = answer("failures")
    assert (failure["path"], failure["stage"]) == (str(bad), "look")
    assert failure["reason"] == reason
    running.is_empty()


def test_a_crowd_of_bad_files_is_listed_one_by_one(colours: Path, tmp_path: Path) -> None:
    for colour in ("red", "yellow", "magenta", "black"):
        paint_many(tmp_path / "pile", 2, colour)
    paint_many(tmp_path / "pile", 4)
    done = answer("submit", str(tmp_path / "pile"), "--wait", status=1)
    assert (done["done"], done["failed"]) == (4, 8)
    failures = answer("failures")
    assert len({failure["path"] for failure in failures}) == 8
    assert mediaflow("failures").stdout.count("crashed the process") == 2
