"""The embedded Valkey: ours alone, and it forgets nothing however it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, ResponseError

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


@pytest.fixture
def running(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The embedded Valkey, up."""
    process = embedded.start()
    yield process
    embedded.stop(process)


def listening(pid: int) -> set[str]:
    """The addresses, in hexadecimal as /proc has them, at which a process listens."""
    links = [link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    sockets = {name.removeprefix("socket:[").removesuffix("]") for name in links if "socket:[" in name}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in sockets}


def test_it_listens_on_loopback_only(running: subprocess.Popen[bytes]) -> None:
    assert listening(running.pid) == {"0100007F"}
    port = urlsplit(str(connection.redis_url())).port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: it tells this machine's own address
        address = probe.getsockname()[0]
    with socket.socket() as other:
        assert other.connect_ex((address, port)) != 0 or address.startswith("127.")


def test_its_password_is_in_no_command_line_and_no_log(running: subprocess.Popen[bytes], home: Path) -> None:
    password = urlsplit(str(connection.redis_url())).password
    assert password
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert password.encode() not in path.read_bytes(), path
    holders = {
        path.name for path in home.rglob("*") if path.is_file() and password in path.read_text("latin-1")
    }
    assert holders == {"valkey.conf", "valkey.json"}


@pytest.mark.parametrize(
    "command",
    [
        ["CONFIG", "SET", "dir", "/tmp"],
        ["CONFIG", "SET", "dbfilename", "authorized_keys"],
        ["DEBUG", "RELOAD"],
        ["DEBUG", "SLEEP", "0"],
        ["MODULE", "LOAD", "/tmp/x.so"],
        ["REPLICAOF", "127.0.0.1", "1"],
        ["SLAVEOF", "127.0.0.1", "1"],
        ["MIGRATE", "127.0.0.1", "1", "key", "0", "1"],
    ],
    ids=" ".join,
)
def test_its_password_makes_no_files_no_code_and_no_copy(
    running: subprocess.Popen[bytes], command: list[str]
) -> None:
    with pytest.raises(ResponseError, match="not allowed|unknown command|protected config"):
        connection.connect().execute_command(*command)


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
