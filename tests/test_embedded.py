"""The embedded Valkey: ours alone, and it forgets nothing however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from mediaflow.lifeline import runs
from mediaflow.queues import connection, embedded
from tests.installation import ROOT, until


def test_it_answers_on_loopback_to_its_password_only(home: Path) -> None:
    process = embedded.start()
    try:
        url = connection.redis_url()
        assert url is not None
        assert connection.connect().ping()
        with pytest.raises(AuthenticationError):
            Redis.from_url(url.replace(url.split("@")[0], "redis://:wrong")).ping()
        assert (home / "run" / "valkey.json").stat().st_mode & 0o077 == 0
        assert (home / "valkey" / "valkey.conf").stat().st_mode & 0o077 == 0
    finally:
        embedded.stop(process)
    assert connection.redis_url() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_written_is_there_after_it_was_killed(home: Path, number: signal.Signals) -> None:
    process = embedded.start()
    connection.connect().set("kept", "yes")
    process.send_signal(number)
    process.wait()
    process = embedded.start()
    try:
        assert connection.connect().get("kept") == b"yes"
    finally:
        embedded.stop(process)


def test_a_home_with_spaces_and_umlauts_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_HOME", str(tmp_path / 'Büro "2" x'))
    process = embedded.start()
    embedded.stop(process)


@pytest.mark.slow
def test_a_server_left_running_is_stopped_before_another_opens_its_file(home: Path) -> None:
    first = embedded.start()
    connection.connect().set("kept", "yes")
    second = embedded.start()
    try:
        assert not runs(first.pid)
        assert connection.connect().get("kept") == b"yes"
    finally:
        first.wait()
        embedded.stop(second)


@pytest.mark.slow
def test_it_ends_with_the_process_that_started_it(home: Path) -> None:
    script = "from mediaflow.queues import embedded; import time; embedded.start(); time.sleep(100)"
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as parent:
        until(connection.embedded_file().exists, "the server is up")
        pid = json.loads(connection.embedded_file().read_text())["pid"]
        parent.kill()
    until(lambda: not runs(pid), "the server has ended")


def test_another_server_on_the_port_of_the_last_one_is_left_alone(home: Path) -> None:
    other = embedded.start()
    found = json.loads(connection.embedded_file().read_text())
    connection.embedded_file().write_text(json.dumps(found | {"pid": 1}))
    process = embedded.start()
    try:
        assert runs(other.pid)
    finally:
        other.kill()
        other.wait()
        with suppress(ProcessLookupError):
            embedded.stop(process)
