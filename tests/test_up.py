"""`up` and `down` with real processes: whatever is stopped or killed, nothing is lost and nothing is left."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from redis import Redis

from mediaflow.lifeline import is_stopped, runs
from tests.installation import ROOT, Installation, answer, mediaflow, paint_many, until

pytestmark = pytest.mark.slow


def submitted(tmp_path: Path, count: int, colour: str = "cyan") -> None:
    """Hand over pictures that take half a second each, so that there is a middle to be interrupted in."""
    paint_many(tmp_path / "pile", count, colour)
    assert mediaflow("submit", str(tmp_path / "pile")).returncode == 0


def test_up_serves_all_queues_and_down_leaves_nothing(either: Installation) -> None:
    either.up("--detach")
    status = answer("status")
    assert status["redis"]["reachable"]
    assert {queue["name"]: queue["workers"] for queue in status["queues"]} == {
        "prepare": 1, "look": 1, "late": 0, "index": 1,
    }  # fmt: skip
    assert "is up already" in mediaflow("up", "--detach").stderr
    second = mediaflow("up")
    assert (second.returncode, len(second.stderr.splitlines())) == (2, 1)
    assert mediaflow("down").returncode == 0
    either.is_empty()
    assert "not up" in mediaflow("down").stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopped_in_the_middle_it_goes_on_where_it_was(
    installation: Installation, tmp_path: Path, number: signal.Signals
) -> None:
    installation.up()
    submitted(tmp_path, 8)
    until(lambda: installation.states().get("done", 0) >= 2, "some are done")
    started = time.monotonic()
    assert installation.stop(number) == 0
    assert time.monotonic() - started < 15
    installation.is_empty()
    assert installation.states().get("wanted", 0) > 0
    installation.up()
    installation.wait()
    assert installation.states() == {"done": 8}
    assert len(installation.calls()) <= 8 + 2, "at most the files in hand are looked at again"


@pytest.mark.parametrize("queue", ["prepare", "look", "index"])
def test_a_worker_that_is_killed_loses_nothing(either: Installation, tmp_path: Path, queue: str) -> None:
    either.up()
    submitted(tmp_path, 10)
    until(lambda: either.calls(), "work has begun")
    for _ in range(2):
        pid = either.worker(queue)
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: either.worker(queue) != pid, "it is started again")
    either.wait()
    assert either.states() == {"done": 10}
    assert not answer("failures")


def test_a_child_that_is_killed_once_costs_no_file(installation: Installation, tmp_path: Path) -> None:
    installation.up()
    submitted(tmp_path, 6)
    until(lambda: installation.calls(), "work has begun")
    os.kill(installation.child("look"), signal.SIGKILL)
    installation.wait()
    assert installation.states() == {"done": 6}


def test_a_worker_that_is_killed_takes_its_child_along(installation: Installation, tmp_path: Path) -> None:
    installation.up()
    submitted(tmp_path, 1, "green")  # its child is in an endless loop
    child = until(lambda: installation.calls() and installation.child("look"), "the loop has begun")
    os.kill(installation.worker("look"), signal.SIGKILL)
    until(lambda: not runs(child), "the child has ended", 5)


def test_up_that_is_killed_takes_everything_along_and_the_next_goes_on(
    installation: Installation, tmp_path: Path
) -> None:
    installation.up()
    submitted(tmp_path, 10)
    until(lambda: installation.states().get("done", 0) >= 2, "some are done")
    assert installation.process is not None
    installation.process.kill()
    installation.process.wait()
    until(lambda: not installation.pids(), "all have ended")
    installation.up()
    installation.wait()
    assert installation.states() == {"done": 10}


def test_a_worker_that_was_stopped_when_its_up_was_killed_is_ended_by_the_next(
    installation: Installation, tmp_path: Path
) -> None:
    installation.up()
    submitted(tmp_path, 6)
    until(lambda: installation.calls(), "work has begun")
    left = installation.worker("look")
    os.kill(left, signal.SIGSTOP)
    installation.stop(signal.SIGKILL)
    until(lambda: len(installation.pids()) <= 2, "the others have ended")  # it, and its child
    assert is_stopped(left)
    installation.up()
    until(lambda: not runs(left), "it is ended")
    installation.wait()
    assert installation.states() == {"done": 6}


def test_everything_killed_at_once_loses_nothing(either: Installation, tmp_path: Path) -> None:
    either.up()
    submitted(tmp_path, 10)
    until(lambda: either.states().get("done", 0) >= 2, "some are done")
    assert either.process is not None
    either.process.kill()
    for pid in either.pids():
        os.kill(pid, signal.SIGKILL)
    either.process.wait()
    either.up()
    mediaflow("submit", str(tmp_path / "pile"))
    either.wait()
    assert either.states() == {"done": 10}


def test_the_embedded_queue_is_started_again_when_it_is_killed(colours: Path, tmp_path: Path) -> None:
    installation = Installation(colours)
    try:
        installation.up()
        submitted(tmp_path, 8)
        until(lambda: installation.calls(), "work has begun")
        server = json.loads((colours / "run" / "valkey.json").read_text())["pid"]
        os.kill(server, signal.SIGKILL)
        installation.wait()
        assert installation.states() == {"done": 8}
        assert answer("status")["complete"]
    finally:
        installation.end()


def test_an_emptied_redis_is_made_good_by_the_next_submit(either: Installation, tmp_path: Path) -> None:
    either.up()
    submitted(tmp_path, 8)
    until(lambda: either.states().get("done", 0) >= 2, "some are done")
    from mediaflow.queues.connection import redis_url

    with Redis.from_url(str(redis_url())) as client:
        client.flushall()
    time.sleep(3)
    done = mediaflow("submit", str(tmp_path / "pile"), "--wait", "--json")
    assert done.returncode == 0, done.stderr
    assert either.states() == {"done": 8}
    assert max(Counter(either.calls()).values()) <= 2


def test_an_outside_redis_that_goes_away_for_a_while_loses_nothing(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    import socket

    if not shutil.which("redis-server"):
        pytest.skip("needs redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [
        "redis-server",
        "--port",
        port,
        "--dir",
        str(tmp_path),
        "--appendonly",
        "yes",
        "--bind",
        "127.0.0.1",
    ]
    monkeypatch.setenv("MEDIAFLOW_REDIS_URL", f"redis://127.0.0.1:{port}/0")
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    installation = Installation(colours)
    try:
        until(lambda: mediaflow("status").returncode == 0, "it answers")
        installation.up()
        submitted(tmp_path, 8)
        until(lambda: installation.calls(), "work has begun")
        server.kill()
        server.wait()
        time.sleep(3)
        assert not answer("status", status=3)["redis"]["reachable"]
        refused = mediaflow("submit", str(tmp_path / "pile"), "--tasks", "late")
        assert (refused.returncode, len(refused.stderr.strip().splitlines())) == (3, 1), refused.stderr
        time.sleep(5)
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(lambda: not installation.open(), "all work is done", 150)
        assert installation.states() == {"done": 8}
    finally:
        installation.end()
        server.kill()
        server.wait()


def test_two_submits_at_once_do_not_double_the_work(either: Installation, tmp_path: Path) -> None:
    either.up()
    paint_many(tmp_path / "pile" / "a", 30)
    paint_many(tmp_path / "pile" / "b", 30, first=30)
    roots = [str(tmp_path / "pile")] * 2 + [str(tmp_path / "pile" / "a"), str(tmp_path / "pile" / "b")]
    results: list[subprocess.CompletedProcess[str]] = []
    threads = [
        threading.Thread(target=lambda root=root: results.append(mediaflow("submit", root))) for root in roots
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {result.returncode for result in results} == {0}, results
    either.wait()
    assert either.states() == {"done": 60}
    assert max(Counter(either.calls()).values()) == 1


def test_copies_and_renames_are_known_by_their_content(installation: Installation, tmp_path: Path) -> None:
    installation.up()
    submitted(tmp_path, 4, "grey")
    installation.wait()
    pile = tmp_path / "pile"
    (pile / "copy.png").write_bytes((pile / "grey-0000.png").read_bytes())
    (pile / "grey-0001.png").rename(pile / "renamed.png")
    os.utime(pile / "grey-0002.png", (1, 1))
    count = answer("submit", str(pile), "--wait")
    assert (count["files"], count["new"]) == (5, 3)
    assert Counter(installation.calls()).most_common(1)[0][1] == 1, "nothing is looked at again"
    assert installation.states() == {"done": 4}
    assert (
        answer("show", str(pile / "copy.png"))["asset"]
        == answer("show", str(pile / "grey-0000.png"))["asset"]
    )


def test_a_task_asked_for_later_is_the_only_one_that_runs(installation: Installation, tmp_path: Path) -> None:
    installation.up()
    submitted(tmp_path, 4, "grey")
    installation.wait()
    # `up` does not serve it: `submit --wait` starts a worker for it, and stops that one only.
    done = answer("submit", str(tmp_path / "pile"), "--tasks", "late", "--wait")
    assert (done["new"], done["done"]) == (0, 4)
    assert len(installation.calls("look")) == len(installation.calls("late")) == 4
    assert {worker["queue"] for worker in answer("status")["workers"]} == {"prepare", "look", "index"}


def test_renditions_that_take_too_much_are_removed_and_work_goes_on(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_RENDITIONS__GIGABYTES", "0.00001")  # less than one job's pictures take
    installation.up()
    submitted(tmp_path, 30, "grey")
    installation.wait()
    assert installation.states() == {"done": 30}
    from mediaflow.settings import load_settings

    load_settings.cache_clear()
    kept = list((installation.home / "renditions").rglob("manifest.json"))
    assert len(kept) <= 16, "of the last jobs only"


def test_renditions_that_nobody_will_use_do_not_block_new_work(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_RENDITIONS__GIGABYTES", "0.00001")
    installation.up()
    paint_many(tmp_path / "pile", 12, "grey")
    assert mediaflow("submit", str(tmp_path / "pile"), "--tasks", "late").returncode == 0  # nobody serves it
    until(lambda: installation.states("late").get("wanted", 0) >= 8, "some are prepared")
    paint_many(tmp_path / "other", 10, "grey", first=100)
    assert mediaflow("submit", str(tmp_path / "other")).returncode == 0
    until(lambda: installation.states().get("done") == 10, "the other folder is done")


def test_a_relative_home_is_the_same_for_all_processes(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint_many(tmp_path / "pile", 2)
    monkeypatch.setenv("MEDIAFLOW_HOME", "state")
    done = subprocess.run(
        [sys.executable, "-m", "mediaflow", "submit", "pile", "--wait", "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 2
    assert (tmp_path / "state" / "catalog.sqlite").exists()
    assert not (ROOT / "state").exists()


def test_submit_that_is_told_to_end_takes_down_what_it_started(colours: Path, tmp_path: Path) -> None:
    installation = Installation(colours)
    paint_many(tmp_path / "pile", 8, "cyan")
    command = [sys.executable, "-m", "mediaflow", "submit", str(tmp_path / "pile"), "--wait"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        until(lambda: installation.calls(), "work has begun")
        process.terminate()
        assert process.wait(60) == 130
        installation.is_empty()
    finally:
        installation.end()
    assert answer("submit", str(tmp_path / "pile"), "--wait")["done"] == 8


def test_a_model_that_is_missing_is_a_reason_and_no_hang(colours: Path, tmp_path: Path) -> None:
    (colours / "no-model").touch()
    paint_many(tmp_path / "pile", 3)
    done = answer("submit", str(tmp_path / "pile"), "--wait", status=1)
    assert done["failed"] == 3
    assert {failure["reason"] for failure in answer("failures")} == {"the model is not there"}
    (colours / "no-model").unlink()
    assert answer("submit", str(tmp_path / "pile"), "--wait")["done"] == 3


def test_a_supervisor_whose_terminal_is_gone_stops_in_order(colours: Path) -> None:
    import pty

    installation = Installation(colours)
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "mediaflow", "up"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    )
    os.close(follower)
    try:
        until((colours / "run" / "ready").exists, "all is up")
        os.close(leader)
        process.send_signal(signal.SIGHUP)
        process.wait(40)
        installation.is_empty()
    finally:
        process.kill()
        installation.end()


def test_the_files_of_a_killed_worker_are_worked_on_again_within_half_a_minute(
    either: Installation, tmp_path: Path
) -> None:
    either.up()
    submitted(tmp_path, 60)
    waits = []
    for _ in range(2):
        begun = len(either.calls())
        until(lambda begun=begun: len(either.calls()) > begun + 1, "it is in the middle of a batch")
        os.kill(either.worker("look"), signal.SIGKILL)
        in_hand, killed = either.calls()[-1], time.monotonic()
        again = either.calls().count(in_hand) + 1
        until(lambda a=again, h=in_hand: either.calls().count(h) >= a, "its file is looked at again", 30)
        waits.append(round(time.monotonic() - killed, 1))
        time.sleep(11)  # a worker that ends again and again is started ever more seldom
    logging.getLogger(__name__).info("seconds until worked on again: %s", waits)
    either.wait()
    assert either.states() == {"done": 60}
