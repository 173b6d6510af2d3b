"""A mediaflow installation of a test: its command line, its processes, and pictures to give to it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from redis.exceptions import RedisError

from mediaflow.errors import MediaflowError
from mediaflow.ops.running import is_up
from mediaflow.queues.connection import connect
from mediaflow.queues.overview import served_queues
from tests.tasks.colours import COLOURS

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0


def paint(path: Path, colour: str = "grey", seed: int = 0) -> Path:
    """Write a small picture of a colour; another seed is another content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-12, 13, (48, 64, 3))
    pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


def paint_many(folder: Path, count: int, colour: str = "grey", first: int = 0) -> list[Path]:
    """Write `count` different pictures."""
    return [paint(folder / f"{colour}-{n:04d}.png", colour, seed=n) for n in range(first, first + count)]


def mediaflow(*arguments: str, stdin: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mediaflow", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        check=False,
    )


def answer(*arguments: str, status: int = 0) -> Any:
    """What the command line answers in JSON; `status` is how it must end."""
    done = mediaflow(*arguments, "--json")
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until the condition holds; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Installation:
    """One home and the processes that serve it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.queues = {"prepare", "look", "index"}

    def up(self, *arguments: str) -> None:
        """Start `mediaflow up` and wait until all workers are there."""
        log = (self.home.parent / "up.log").open("ab")
        command = [sys.executable, "-m", "mediaflow", "up", *arguments]
        with log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
            )
        until(self._served, "all workers are up")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send `up` a signal and wait for its end; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        self.process = None
        return status

    def end(self) -> None:
        """Leave nothing running, whatever the test did."""
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.stop()
        if is_up():
            mediaflow("down")
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait(self, seconds: float = PATIENCE) -> None:
        """Wait until nothing is open any more."""
        until(lambda: not self.open(), "all work is done", seconds)

    def open(self) -> int:
        """Pieces of work that are wanted and not settled."""
        return self.ask("SELECT COUNT(*) FROM locations WHERE state = 'queued'")[0][0] + int(
            self.ask("SELECT COUNT(*) FROM work WHERE state = 'wanted'")[0][0]
        )

    def ask(self, query: str, *parameters: Any) -> list[Any]:
        """Rows of the catalog."""
        with closing(sqlite3.connect(self.home / "catalog.sqlite", timeout=30)) as db:
            return db.execute(query, parameters).fetchall()

    def states(self, task: str = "look") -> dict[str, int]:
        """How many assets are in each state of a task."""
        return dict(self.ask("SELECT state, COUNT(*) FROM work WHERE task = ? GROUP BY state", task))

    def calls(self, task: str = "look") -> list[str]:
        """The assets that the task was given, as often as it was given them."""
        try:
            return [line.split()[1] for line in (self.home / f"{task}.calls").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def is_empty(self) -> None:
        """All processes of this home have ended, or do so now."""
        until(lambda: not self.pids(), "no process is left", 5)

    def pids(self, *words: str) -> list[int]:
        """The processes of this home: the embedded queue, workers and their children."""
        found = []
        mark = f"MEDIAFLOW_HOME={self.home}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                environment = (folder / "environ").read_bytes().split(b"\0")
                if mark in environment and int(folder.name) != os.getpid() and set(words) <= set(command):
                    found.append(int(folder.name))
        return found

    def worker(self, queue: str) -> int:
        """The pid of the worker of a queue."""
        return int(until(lambda: self.pids("workers", queue), f"a worker for {queue}")[0])

    def child(self, queue: str) -> int:
        """The pid of the process in which a queue's models are."""
        return int(until(lambda: self.pids("workers.child", queue), f"a child for {queue}")[0])

    def _served(self) -> bool:
        assert self.process is not None
        assert not self.process.poll(), (self.home.parent / "up.log").read_text()
        with suppress(MediaflowError, RedisError), closing(connect()) as client:
            return self.queues <= served_queues(client)
        return False
