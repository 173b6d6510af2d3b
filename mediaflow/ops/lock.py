"""Locks between processes: a file that the system unlocks when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from mediaflow.settings import home

PID_BYTES = 32


class Lock:
    """A named lock of this home. `taken`: whether this process has it; `holder`: else the pid that has it."""

    def __init__(self, name: str) -> None:
        self._path = lock_path(name)
        self._file: int | None = None
        self.taken = False
        self.holder: int | None = None

    def __enter__(self) -> Lock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        for _ in range(5):  # `holder` may have it for a moment
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.taken = True
                break
            except BlockingIOError:
                time.sleep(0.02)
        if not self.taken:
            self.holder = _read_pid(self._file)
            return self
        # Written over the former pid, as a full disk has no room for more; the lock holds without it.
        with suppress(OSError):
            os.pwrite(self._file, str(os.getpid()).ljust(PID_BYTES).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        os.close(self._file)
        self.taken = False


class SharedLock:
    """A named lock of this home that several processes hold at once, or one of them alone.

    Child processes do not inherit it; the system releases it when its holder ends, however it ends.
    """

    def __init__(self, name: str) -> None:
        self._path = lock_path(name)
        self._file = -1

    def __enter__(self) -> SharedLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def share(self) -> None:
        """Hold it together with others; waits while one process holds it alone."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def take_alone(self) -> bool:
        """Hold it alone; False when others hold it. A share that was held before is given up."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def holder(name: str) -> int | None:
    """The pid of the process that holds the lock, or None when it is free."""
    try:
        file = os.open(lock_path(name), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _read_pid(file)
    finally:
        os.close(file)


def lock_path(name: str) -> Path:
    """The file of a lock."""
    return home() / "run" / f"{name}.lock"


def _read_pid(file: int) -> int | None:
    text = os.pread(file, PID_BYTES, 0).decode(errors="replace").strip()
    return int(text) if text.isdigit() else None
