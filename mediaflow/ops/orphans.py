"""Workers without the `up` that started them: one that was stopped (SIGSTOP) does not see it end."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mediaflow.lifeline import is_stopped, parent_of
from mediaflow.settings import home

MODULES = ("workers", "workers.gateway", "mediaflow.fleet")


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that works for this home; `parent` is the pid that started it, None if a person did."""

    pid: int
    name: str
    parent: int | None


def workers_of_home() -> list[Worker]:
    """The workers, the gateway and the controller of this home that run, whoever started them."""
    mark = b"MEDIAFLOW_HOME=" + os.fsencode(home())
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            words = os.fsdecode((folder / "cmdline").read_bytes()).rstrip("\0").split("\0")
            module = words[2] if words[1:2] == ["-m"] and len(words) > 2 else ""
            if module not in MODULES or mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            parent = int(words.pop()) if words[-1].isdecimal() else None
            found.append(Worker(int(folder.name), " ".join(words[3:]) or module, parent))
    return found


def stopped_orphans() -> list[Worker]:
    """Workers that do not see that the `up` they belong to has ended: they would stay so for ever."""
    return [
        worker
        for worker in workers_of_home()
        if worker.parent is not None and parent_of(worker.pid) != worker.parent and is_stopped(worker.pid)
    ]


def end_stopped_orphans() -> list[Worker]:
    """Kill them: another works in their place, and what they had in their hands is given to it."""
    orphans = stopped_orphans()
    for worker in orphans:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
    return orphans
