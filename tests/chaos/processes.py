"""The processes of an installation, told by its home, and what each of them is."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process and its role: `up`, `submit`, `command`, `server`, `worker ocr`, `child ocr`."""

    pid: int
    role: str
    stopped: bool


def processes(home: Path) -> list[Process]:
    """Those of this home that live, this process left out."""
    mark = f"MEDIAFLOW_HOME={home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            mine = mark in (folder / "environ").read_bytes().split(b"\0")
            # A server writes its title over its environment; but it works in its folder.
            mine = mine or (folder / "cwd").readlink().is_relative_to(home)
            if int(folder.name) == os.getpid() or not mine:
                continue
            words = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX":
                found.append(Process(int(folder.name), _role(words), state in "Tt"))
    return found


def _role(words: list[str]) -> str:
    if "workers.child" in words:
        return f"child {words[-1]}"
    if "workers" in words:
        return f"worker {words[words.index('workers') + 1]}"
    if "mediaflow" in words:
        command = words[words.index("mediaflow") + 1 :]
        return command[0] if command and command[0] in ("up", "submit") else "command"
    return "server" if any("valkey" in word or "redis" in word for word in words) else "unknown"


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False when nobody is there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def end_all(home: Path, seconds: float = 20, about_to_die: Callable[[int], object] = bool) -> None:
    """Kill everything of this home at once, until nothing is left; each pid is told before it is killed."""
    deadline = time.monotonic() + seconds
    while left := processes(home):
        for process in left:
            about_to_die(process.pid)
            send(process.pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"these do not die: {left}")
        time.sleep(0.02)
