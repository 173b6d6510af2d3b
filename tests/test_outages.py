"""The queue goes away, says no, or hangs, and comes back: all wait and go on, or say what is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import free_port, serve
from tests.installation import ROOT, Installation, answer, mediaflow, paint_many, until

pytestmark = pytest.mark.slow


class Gate:
    """A TCP proxy before a server: it can cut connections, refuse new ones, or let them hang."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.refuses = self._closed = False
        self._lost: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        """From now on, what is sent on the connections there are goes nowhere; nobody is told."""
        self._lost = {end for pair in self._pairs for end in pair}

    def cut(self) -> None:
        """Close every connection there is."""
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            with suppress(OSError):
                inner, _ = self._listener.accept()
                if self.refuses:
                    inner.close()
                    continue
                port = int(self._server.rpartition(":")[2].split("/")[0])
                outer = socket.create_connection(("127.0.0.1", port))
                self._pairs.append((inner, outer))
                for one, other in ((inner, outer), (outer, inner)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if one not in self._lost:
                    other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def gate(debian_redis: str, colours: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A proxy before Debian's Redis, which MEDIAFLOW_REDIS_URL names."""
    with Redis.from_url(debian_redis) as client:
        client.flushall()
    gate = Gate(debian_redis)
    monkeypatch.setenv("MEDIAFLOW_REDIS_URL", gate.url)
    yield gate
    gate.close()


@pytest.fixture
def running(gate: Gate, colours: Path, tmp_path: Path) -> Iterator[Installation]:
    """An installation that is in the middle of eight pictures, half a second each."""
    installation = Installation(colours)
    installation.up()
    paint_many(tmp_path / "pile", 8, "cyan")
    assert mediaflow("submit", str(tmp_path / "pile")).returncode == 0
    until(lambda: installation.calls(), "work has begun")
    yield installation
    installation.end()


def processes(installation: Installation) -> set[int]:
    return {installation.worker("look"), installation.worker("index"), installation.child("look")}


def settled(installation: Installation, seconds: float = 90) -> None:
    until(lambda: not installation.open(), "all work is done", seconds)
    assert installation.states() == {"done": 8}
    assert installation.ask("SELECT COUNT(*) FROM findings")[0][0] == 8
    assert installation.ask("SELECT COUNT(*) FROM vectors")[0][0] == 8
    until(lambda: answer("status")["complete"], "status says so")


def test_connections_that_are_cut_again_and_again_cost_no_worker_and_no_file(
    running: Installation, gate: Gate
) -> None:
    before = processes(running)
    for _ in range(5):
        time.sleep(0.4)
        gate.cut()
    settled(running)
    assert processes(running) == before, "no process was replaced: the models stayed warm"
    assert max(Counter(running.calls()).values()) == 1


def test_an_outage_is_waited_out_with_the_models_warm(running: Installation, gate: Gate) -> None:
    before = processes(running)
    gate.refuses = True
    gate.cut()
    assert not answer("status", status=3)["redis"]["reachable"]
    refused = mediaflow("submit", str(running.home.parent / "pile"), "--tasks", "late")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (3, 1), refused.stderr
    time.sleep(15)
    gate.refuses = False
    settled(running)
    assert processes(running) == before
    assert max(Counter(running.calls()).values()) == 1


def test_connections_that_hang_without_a_word_are_given_up(running: Installation, gate: Gate) -> None:
    before = processes(running)
    gate.stall()
    settled(running, 120)
    assert processes(running) == before


def test_a_queue_without_memory_is_named_and_waited_for(
    running: Installation, gate: Gate, debian_redis: str
) -> None:
    before = processes(running)
    with Redis.from_url(debian_redis) as client:
        client.config_set("maxmemory", "100kb")
        try:
            time.sleep(8)
            assert any("no memory left" in what for what in answer("status")["trouble"])
            shown = mediaflow("status")
            assert (shown.returncode, "no memory left" in shown.stdout) == (0, True)
            paint_many(running.home.parent / "more", 2)
            refused = mediaflow("submit", str(running.home.parent / "more"))
            assert refused.returncode == 3
            assert "no memory left" in refused.stderr
            assert len(refused.stderr.splitlines()) <= 2, refused.stderr
        finally:
            client.config_set("maxmemory", "0")
    until(lambda: running.states() == {"done": 10}, "all is done, what could not be enqueued too", 90)
    assert processes(running) == before
    assert max(Counter(running.calls()).values()) == 1


def test_a_queue_that_became_a_read_only_replica_is_named_and_waited_for(
    running: Installation, gate: Gate, debian_redis: str
) -> None:
    before = processes(running)
    with Redis.from_url(debian_redis) as client:
        client.replicaof("127.0.0.1", "1")
        try:
            time.sleep(8)
            assert any("read-only replica" in what for what in answer("status")["trouble"])
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
    settled(running)
    assert processes(running) == before


@pytest.mark.parametrize("queue", ["look", "prepare", "index"])
def test_a_worker_that_was_stopped_is_replaced(
    installation: Installation, tmp_path: Path, queue: str
) -> None:
    installation.up()
    pid = installation.worker(queue)
    os.kill(pid, signal.SIGSTOP)
    paint_many(tmp_path / "pile", 4)
    assert mediaflow("submit", str(tmp_path / "pile")).returncode == 0
    until(lambda: installation.states() == {"done": 4}, "all is done", 90)
    assert installation.worker(queue) != pid


def test_a_child_that_was_stopped_is_replaced(installation: Installation, tmp_path: Path) -> None:
    installation.up()
    paint_many(tmp_path / "pile", 6, "cyan")
    assert mediaflow("submit", str(tmp_path / "pile")).returncode == 0
    until(lambda: installation.calls(), "work has begun")
    os.kill(installation.child("look"), signal.SIGSTOP)
    until(lambda: installation.states() == {"done": 6}, "all is done", 60)


def test_an_embedded_queue_that_hangs_is_replaced_and_found_at_its_address(
    installation: Installation, tmp_path: Path
) -> None:
    import json

    installation.up()
    told = json.loads((installation.home / "run" / "valkey.json").read_text())
    before = {installation.worker(queue) for queue in ("prepare", "look", "index")}
    os.kill(told["pid"], signal.SIGSTOP)
    until(
        lambda: json.loads((installation.home / "run" / "valkey.json").read_text())["pid"] != told["pid"],
        "another serves",
        90,
    )
    assert json.loads((installation.home / "run" / "valkey.json").read_text())["url"] == told["url"]
    paint_many(tmp_path / "pile", 4)
    assert answer("submit", str(tmp_path / "pile"), "--wait")["done"] == 4
    assert {installation.worker(queue) for queue in ("prepare", "look", "index")} == before


def test_two_servers_never_write_the_same_file(colours: Path) -> None:
    """One that was left by an `up` that was killed, and is stopped so that it hears nothing, is ended."""
    from mediaflow.queues import embedded

    first = embedded.start()
    os.kill(first.pid, signal.SIGSTOP)
    threading.Thread(target=first.wait, daemon=True).start()
    second = embedded.start()
    assert first.poll() is not None
    embedded.stop(second)


def test_a_worker_on_its_own_waits_for_its_queue(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under systemd or in a container: nobody starts it again, so it must not end."""
    installation = Installation(colours)
    port = free_port()
    monkeypatch.setenv("MEDIAFLOW_REDIS_URL", f"redis://127.0.0.1:{port}/0")
    worker = None
    try:
        with serve("redis", tmp_path, port):
            worker = _worker("look")
            until(lambda: answer("status")["workers"], "it is there")
        time.sleep(8)
        assert worker.poll() is None
        with serve("redis", tmp_path, port):
            until(lambda: answer("status")["workers"], "it is there again")
            [listed] = answer("status")["workers"]
            assert listed["pid"] == worker.pid
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0, "also told to stop while there is no queue"
    finally:
        if worker is not None:
            worker.kill()
        installation.end()


def _worker(queue: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "workers", queue], cwd=ROOT, stderr=subprocess.DEVNULL)


def test_a_job_that_takes_down_its_workers_is_taken_apart(installation: Installation, tmp_path: Path) -> None:
    installation.up()
    paint_many(tmp_path / "pile", 4, "cyan")
    assert mediaflow("submit", str(tmp_path / "pile")).returncode == 0
    for _ in range(3):
        begun = len(installation.calls())
        until(lambda begun=begun: len(installation.calls()) > begun, "it has the job in hand")
        os.kill(installation.worker("look"), signal.SIGKILL)
    until(lambda: installation.ask("SELECT 1 FROM work WHERE attempts = 1"), "its files count as failed once")
    until(lambda: installation.states() == {"done": 4}, "each alone, they are done", 60)


def test_what_has_failed_too_often_is_left_alone_until_it_is_retried(
    installation: Installation, tmp_path: Path
) -> None:
    installation.up()
    paint_many(tmp_path / "pile", 2, "red")
    paint_many(tmp_path / "pile", 3)
    done = answer("submit", str(tmp_path / "pile"), "--wait", status=1)
    assert (done["done"], done["failed"]) == (3, 2)
    assert {failure["attempts"] for failure in answer("failures")} == {2}, "as often as the settings say"
    calls = len(installation.calls())
    assert answer("submit", str(tmp_path / "pile"), "--wait")["failed"] == 0, "not failures of this run"
    time.sleep(8)
    assert len(installation.calls()) == calls, "nobody tries them any more"
    assert "gave up after 2 attempts" in mediaflow("failures").stdout
    assert answer("retry", "--reason", "SIGSEGV")["failures"] == 2
    until(lambda: len(installation.calls()) >= calls + 2, "they are tried again")
    until(lambda: answer("status")["complete"], "and given up again")
    assert {failure["attempts"] for failure in answer("failures")} == {2}


def test_a_lost_job_is_found_without_a_submit(either: Installation, tmp_path: Path) -> None:
    from mediaflow.queues.connection import connect

    either.up()
    paint_many(tmp_path / "pile", 12, "cyan")
    assert mediaflow("submit", str(tmp_path / "pile")).returncode == 0
    until(lambda: either.states().get("done", 0) >= 2, "some are done")
    with closing(connect()) as client:
        client.flushall()
    until(lambda: either.states() == {"done": 12}, "all is done", 90)
    assert max(Counter(either.calls()).values()) <= 2


def test_a_full_disk_is_waited_for_and_shown(installation: Installation, tmp_path: Path) -> None:
    (installation.home / "disk-full").touch()  # the tests' tasks then find no space left
    installation.up()
    paint_many(tmp_path / "pile", 4)
    assert mediaflow("submit", str(tmp_path / "pile")).returncode == 0
    until(lambda: answer("status")["trouble"], "it is shown")
    assert "No space left on device" in mediaflow("status").stdout
    assert not answer("failures")
    (installation.home / "disk-full").unlink()
    until(lambda: installation.states() == {"done": 4}, "it goes on")
    until(lambda: not answer("status")["trouble"], "nothing is waited for any more")


def test_a_retry_starts_what_it_needs_and_takes_it_down_again(colours: Path, tmp_path: Path) -> None:
    installation = Installation(colours)
    (colours / "no-model").touch()
    paint_many(tmp_path / "pile", 3)
    assert answer("submit", str(tmp_path / "pile"), "--wait", status=1)["failed"] == 3
    assert answer("retry", "--wait", status=1)["failed"] == 3
    (colours / "no-model").unlink()
    assert answer("retry", "--task", "look", "--wait") == {"run": 3, "failures": 3, "failed": 0}
    assert installation.states() == {"done": 3}
    installation.is_empty()
