"""`submit --wait` that ends in any way leaves nothing running, except an `up` that a person started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediaflow.ops.running import is_up, to_take_down
from tests.installation import ROOT, Installation, answer, mediaflow, paint_many, until

pytestmark = pytest.mark.slow
# Workers give back the file in hand before they end.
END_SECONDS = 40


@pytest.fixture
def alone(colours: Path) -> Iterator[Installation]:
    """An installation in which nothing runs yet."""
    installation = Installation(colours)
    yield installation
    installation.end()


def waiting(*arguments: str) -> subprocess.Popen[bytes]:
    """A command that waits, in the background and in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mediaflow", *arguments, "--wait"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def is_left_empty(installation: Installation) -> None:
    """All processes of the home end by themselves, and their marks are gone."""
    until(lambda: not installation.pids(), "no process is left", END_SECONDS)
    assert not to_take_down().exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_submit_that_is_ended_by_a_signal_leaves_nothing_running(
    alone: Installation, tmp_path: Path, number: signal.Signals
) -> None:
    paint_many(tmp_path / "pile", 12, "cyan")
    process = waiting("submit", str(tmp_path / "pile"))
    until(alone.calls, "work has begun")
    process.send_signal(number)
    process.wait(END_SECONDS)
    is_left_empty(alone)
    assert alone.states().get("wanted", 0) > 0, "it was ended in the middle"


def test_a_retry_that_is_killed_leaves_nothing_running(alone: Installation, tmp_path: Path) -> None:
    paint_many(tmp_path / "pile", 1, "magenta")
    answer("submit", str(tmp_path / "pile"), "--wait", status=1)
    before = len(alone.calls())
    process = waiting("retry")
    until(lambda: is_up() and len(alone.calls()) > before, "it is tried again")
    process.kill()
    process.wait(END_SECONDS)
    is_left_empty(alone)


def test_a_submit_that_is_killed_while_up_starts_leaves_nothing_running(
    alone: Installation, tmp_path: Path
) -> None:
    paint_many(tmp_path / "pile", 1)
    process = waiting("submit", str(tmp_path / "pile"))
    until(is_up, "`up` is starting")
    process.kill()
    process.wait(END_SECONDS)
    is_left_empty(alone)


def test_up_stays_until_the_last_of_two_submits_ends(alone: Installation, tmp_path: Path) -> None:
    for name, first in (("one", 0), ("two", 100)):
        paint_many(tmp_path / name, 10, "cyan", first)
    starter = waiting("submit", str(tmp_path / "one"))
    until(is_up, "the first has started `up`")
    second = waiting("submit", str(tmp_path / "two"))
    until(lambda: len(alone.ask("SELECT 1 FROM runs")) == 2 and alone.calls(), "both wait")
    starter.kill()
    starter.wait(END_SECONDS)
    assert second.wait(120) == 0, "its work was done to the end"
    assert alone.ask("SELECT COUNT(*) FROM work WHERE state = 'done'")[0][0] >= 10
    assert (alone.home / "logs" / "up.log").read_text().count("embedded Valkey is up") == 1, "they shared it"
    is_left_empty(alone)


def test_an_up_that_a_person_started_stays_when_a_submit_is_killed(
    installation: Installation, tmp_path: Path
) -> None:
    to_take_down().parent.mkdir(parents=True, exist_ok=True)
    to_take_down().touch()  # left by a crash
    installation.up()
    paint_many(tmp_path / "pile", 8, "cyan")
    process = waiting("submit", str(tmp_path / "pile"))
    until(installation.calls, "work has begun")
    process.kill()
    process.wait(END_SECONDS)
    installation.wait()
    assert installation.states() == {"done": 8}
    assert installation.process is not None
    assert installation.process.poll() is None


def test_an_up_that_a_person_asks_for_meanwhile_stays_after_the_submit(
    alone: Installation, tmp_path: Path
) -> None:
    paint_many(tmp_path / "pile", 16, "cyan")
    process = waiting("submit", str(tmp_path / "pile"))
    until(alone.calls, "work has begun")
    assert "is up already" in mediaflow("up", "--detach").stderr
    assert process.wait(120) == 0
    assert alone.worker("look")


def test_a_submit_that_comes_while_up_ends_starts_another(alone: Installation, tmp_path: Path) -> None:
    paint_many(tmp_path / "pile", 6, "cyan")
    process = waiting("submit", str(tmp_path / "pile"))
    until(alone.calls, "work has begun")
    process.kill()
    process.wait(END_SECONDS)
    assert answer("submit", str(tmp_path / "pile"), "--wait")["done"] == 6
    is_left_empty(alone)


def test_nohup_keeps_a_submit_running(alone: Installation, tmp_path: Path) -> None:
    paint_many(tmp_path / "pile", 6, "cyan")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = waiting("submit", str(tmp_path / "pile"))
    finally:
        signal.signal(signal.SIGHUP, before)
    until(alone.calls, "work has begun")
    os.killpg(process.pid, signal.SIGHUP)
    up = is_up()
    assert up is not None
    os.kill(up, signal.SIGHUP)
    assert process.wait(120) == 0
