"""How a process comes to its end: told by a signal, or with its parent, also by kill -9."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


_LOOK_SECONDS = 0.1


class Stop:
    """Whether this process was told to stop by one of these signals.

    No Event: a handler that sets one waits for ever where it interrupts the thread that holds its lock.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self.is_told = False
        for number in numbers:
            signal.signal(number, self._tell)

    def wait(self, seconds: float) -> bool:
        """Wait until it is told, so many seconds at most; whether it is."""
        deadline = time.monotonic() + seconds
        while not self.is_told and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
        return self.is_told

    def _tell(self, *_: object) -> None:
        self.is_told = True


def end_with_parent(number: signal.Signals, parent: int | None = None) -> None:
    """Have the kernel send signal `number` to this process when its parent ends.

    `parent` is the pid that the parent said it has: it may have ended before this was called. The
    kernel forgets the wish when a program with other rights is run. Does nothing but on Linux.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)


def runs(pid: int) -> bool:
    """Whether this machine has a process `pid` that has not ended (a zombie has)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = _state(pid)
    return state not in (b"Z", b"X") if state else sys.platform != "linux"


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped, as by SIGSTOP, and does not go on by itself."""
    return _state(pid) == b"T"


def parent_of(pid: int) -> int | None:
    """The pid of a process's parent; None where there is no such process, or Linux does not tell."""
    fields = _status(pid)
    return int(fields[1]) if len(fields) > 1 else None


def _state(pid: int) -> bytes:
    """The letter that Linux has for the state of a process; empty where it does not tell."""
    return b"".join(_status(pid)[:1])


def _status(pid: int) -> list[bytes]:
    """What Linux says of a process from its state on (proc_pid_stat(5)); empty where it says nothing."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    # The name in parentheses may hold anything; the state comes after it.
    return status.rpartition(b")")[2].split()
