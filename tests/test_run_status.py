"""The exit status of `submit --wait` is about its own run; older failures are told, or dismissed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.installation import Installation, answer, mediaflow, paint, paint_many

pytestmark = pytest.mark.slow


def submitted(pile: Path) -> tuple[int, int, str]:
    """The exit status of a submit, the failures it counts, and the lines it says."""
    status = mediaflow("submit", str(pile), "--wait")
    counted = int(status.stderr.split(" searchable, ")[1].split()[0])
    return status.returncode, counted, status.stderr


def test_only_failures_of_the_run_make_its_status(installation: Installation, tmp_path: Path) -> None:
    installation.up()
    pile = tmp_path / "pile"
    paint_many(pile, 2)
    (pile / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    paint(pile / "bad.png", "magenta")
    assert submitted(pile)[:2] == (1, 2)

    status, failed, said = submitted(pile)
    assert (status, failed) == (0, 0)
    assert "2 files are searchable" in said
    assert "2 older failures: mediaflow failures\n" in said

    paint(pile / "worse.png", "magenta", seed=7)
    status, failed, said = submitted(pile)
    assert (status, failed) == (1, 1)
    assert "2 older failures" in said

    (pile / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nagain")
    assert answer("submit", str(pile), "--wait", status=1)["failed"] == 1, "a changed file is of this run"

    retried = mediaflow("retry", str(pile / "bad.png"), "--wait")
    assert retried.returncode == 1
    assert retried.stderr == "Retrying 1 failure.\nDone: 1 failure left (mediaflow failures).\n"


def test_a_dismissed_failure_is_silent_until_a_retry_names_it(
    installation: Installation, tmp_path: Path
) -> None:
    installation.up()
    pile = tmp_path / "pile"
    paint(pile / "bad.png", "magenta")
    (pile / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    submitted(pile)
    assert set(answer("failures")[0]) == {"path", "stage", "reason", "attempts", "last"}

    assert mediaflow("failures", "--dismiss", "--task", "look").stderr.startswith("Dismissed 1 failure.")
    assert [failure["stage"] for failure in answer("failures")] == ["prepare"]
    assert "1 dismissed failure is not listed" in mediaflow("failures").stderr
    assert answer("status")["failed"] == 1
    assert "1 older failure: mediaflow failures\n" in submitted(pile)[2]

    [dismissed] = json.loads(mediaflow("failures", "--dismiss", "--json", str(pile)).stdout)
    assert dismissed["path"] == str(pile / "broken.png")
    assert "older" not in submitted(pile)[2]
    calls = len(installation.calls())
    assert "Nothing failed." in mediaflow("retry").stderr

    assert mediaflow("retry", str(pile / "bad.png"), "--wait").returncode == 1
    assert len(installation.calls()) > calls
    assert [failure["stage"] for failure in answer("failures")] == ["look"]


def test_a_moved_file_fails_under_its_new_path_only(installation: Installation, tmp_path: Path) -> None:
    installation.up()
    paint(tmp_path / "old" / "bad.png", "magenta")
    (tmp_path / "old" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    paint(tmp_path / "old" / "good.png")
    answer("submit", str(tmp_path / "old"), "--wait", status=1)
    (tmp_path / "new").mkdir()
    for name in ("bad.png", "broken.png"):
        (tmp_path / "old" / name).rename(tmp_path / "new" / name)
    answer("submit", str(tmp_path / "new"), "--wait", status=1)
    assert {Path(failure["path"]).parent.name for failure in answer("failures")} == {"new"}
