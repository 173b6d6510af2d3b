"""Whether `mediaflow up` runs on this home; starting it in the background, and stopping it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mediaflow.errors import UnreachableError
from mediaflow.ops.lock import holder
from mediaflow.ops.processes import log_path
from mediaflow.settings import home

# Held by the `up` that runs.
LOCK = "up"
# Shared by all running `submit --wait` and `retry --wait`.
WAITING = "waiting"
# Seconds that `down` waits for workers and boxes to end.
DOWN_SECONDS = 130


def ready_file() -> Path:
    """Exists while everything is up."""
    return home() / "run" / "ready"


def to_take_down() -> Path:
    """Exists while an `up` runs that ends with the last waiting command."""
    return home() / "run" / "take-down"


def is_up() -> int | None:
    """The pid of the `up` that runs on this home, or None."""
    return holder(LOCK)


def start_detached(*, while_waiting: bool = False, seconds: float = 60) -> int:
    """Start `mediaflow up` in the background, unless one runs; returns its pid when all is up.

    `while_waiting`: it ends with the last command that waits for its work.
    Raises UnreachableError with the end of its log when it does not come up.
    """
    log = log_path("up")
    process: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid = is_up()
        if pid is not None and ready_file().exists():
            return pid
        if pid is None and process is None:
            process = _start_up(log, while_waiting)
        # If another command has started one at the same moment, ours ends and that one serves both.
        elif pid is None and process is not None and process.poll() is not None and is_up() is None:
            break
        time.sleep(0.05)
    tail = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
    raise UnreachableError(f"mediaflow did not come up; {log} ends with: {tail}")


def _start_up(log: Path, while_waiting: bool) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "mediaflow", "up", *(["--while-waiting"] if while_waiting else [])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def stop_running(seconds: float = DOWN_SECONDS) -> bool:
    """Stop the `up` that runs on this home; False when none does."""
    pid = is_up()
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while is_up() is not None:
        if time.monotonic() > deadline:
            raise UnreachableError(f"mediaflow (pid {pid}) does not stop; its log is {log_path('up')}.")
        time.sleep(0.05)
    return True
