"""What `submit --wait` waits for, and when it gives up: no run of a cron job hangs for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from mediaflow.errors import UnreachableError
from mediaflow.ops import serving
from mediaflow.ops.serving import Serving
from mediaflow.queues import connection
from tests.installation import ROOT, Installation, paint_many, until

pytestmark = pytest.mark.slow


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(serving, "LOST_SECONDS", 1)
    monkeypatch.setattr(serving, "PATIENCE_SECONDS", 2)


def checked(running: Serving, *open_queues: str) -> str:
    """What `check` gives up with."""
    with pytest.raises(UnreachableError) as refused:
        until(lambda: running.check(open_queues), "it gives up", 20)
    return str(refused.value)


def test_it_starts_what_is_missing_and_stops_only_that(installation: Installation) -> None:
    installation.up()
    started = time.monotonic()
    with Serving(["look", "late"]) as running:
        running.connect()
        until(lambda: installation.pids("workers", "late"), "the one that was missing")
        assert time.monotonic() - started < 10, "it does not wait for what nobody will start"
        assert len(installation.pids("workers", "look")) == 1
    until(lambda: not installation.pids("workers", "late"), "it is stopped again")
    assert installation.worker("look")


def test_it_brings_everything_up_and_takes_it_down(colours: Path) -> None:
    installation = Installation(colours)
    with Serving(["look"]) as running:
        assert running.connect().ping()
        assert installation.worker("index")
    installation.is_empty()


def test_those_who_wait_at_once_share_what_one_of_them_started(colours: Path, tmp_path: Path) -> None:
    installation = Installation(colours)
    for name, count in (("short", 2), ("long", 12)):
        paint_many(tmp_path / name, count, "cyan", first=count)
    command = [sys.executable, "-m", "mediaflow", "submit", "--wait", "--json"]
    first = subprocess.Popen([*command, str(tmp_path / "short")], cwd=ROOT, stdout=subprocess.PIPE)
    until(lambda: installation.pids("workers", "prepare"), "the first has begun")
    second = subprocess.Popen([*command, str(tmp_path / "long")], cwd=ROOT, stdout=subprocess.PIPE)
    done = [json.loads(process.communicate(timeout=120)[0])["done"] for process in (first, second)]
    assert done == [2, 12]
    installation.is_empty()


def test_an_up_that_a_person_started_is_left_running(installation: Installation, tmp_path: Path) -> None:
    installation.up()
    with Serving(["look"]) as running:
        running.connect()
    assert installation.worker("look")


def test_it_uses_the_workers_of_another_machine_where_they_are_all_there(
    debian_redis: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_REDIS_URL", debian_redis)
    with Redis.from_url(debian_redis) as client:
        client.flushall()
    other = tmp_path / "other"
    monkeypatch.setenv("MEDIAFLOW_HOME", str(other))
    elsewhere = Installation(other)
    elsewhere.up()
    monkeypatch.setenv("MEDIAFLOW_HOME", str(colours))
    try:
        with Serving(["look"]) as running:
            running.connect()
            running.check()
            assert not Installation(colours).pids("workers", "look")
    finally:
        monkeypatch.setenv("MEDIAFLOW_HOME", str(other))
        elsewhere.end()


def test_it_gives_up_when_its_up_was_stopped(colours: Path, impatient: None) -> None:
    with Serving(["look"]) as running:
        running.connect()
        from mediaflow.ops.running import stop_running

        stop_running()
        assert "was stopped while this run waited" in checked(running, "look")


def test_it_gives_up_on_work_that_is_in_no_queue(colours: Path, impatient: None) -> None:
    with Serving(["look"]) as running:
        running.connect()
        assert "in no queue any more" in checked(running, "look")


def test_it_gives_up_on_a_worker_that_keeps_ending(installation: Installation, impatient: None) -> None:
    installation.up()
    with Serving(["look"]) as running:
        running.connect()
        for _ in range(3):  # each time it is started again a little later
            pid = installation.worker("look")
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: pid not in installation.pids("workers", "look"), "it has ended")
        assert "No worker serves look; see" in checked(running, "look")


def test_it_serves_what_earlier_submits_left_open(installation: Installation, tmp_path: Path) -> None:
    from tests.installation import answer, mediaflow

    installation.up()
    paint_many(tmp_path / "pile", 2)
    mediaflow("submit", str(tmp_path / "pile"), "--tasks", "late")
    until(lambda: installation.states("late").get("wanted") == 2, "it is wanted")
    assert answer("submit", str(tmp_path / "pile"), "--wait")["done"] == 2
    assert installation.states("late") == {"done": 2}


def test_an_up_that_cannot_start_says_why(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_REDIS_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(UnreachableError, match="does not answer"), Serving(["look"]) as running:
        running.connect()
    assert connection.outside_url() is not None
    assert (ROOT / "Procfile").exists()
