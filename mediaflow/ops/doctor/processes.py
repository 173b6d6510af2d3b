"""Processes: what an `up` that was killed left, in files and in processes of this home."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from mediaflow.ops.doctor.report import Examination
from mediaflow.ops.lock import Lock, holder
from mediaflow.ops.up import is_up, ready_file, to_take_down
from mediaflow.queues.connection import outside_url
from mediaflow.settings import home

# Workers end by themselves this long (seconds) after their `up` at most.
ENDING = 3.0


def examine(visit: Examination) -> None:
    """Look for marks and workers of an `up` that is not running any more."""
    with visit.part("processes"):
        marks = [mark for mark in (ready_file(), to_take_down()) if mark.exists()]
        if marks and is_up() is None:
            names = ", ".join(f"run/{mark.name}" for mark in marks)
            visit.mend("processes", f"{names} of a mediaflow up that was killed", "removed", _remove_marks)
        for pid, queue in _left_workers():
            visit.problem("processes", f"a worker of {queue} (pid {pid}) runs without a queue", f"kill {pid}")
    up = is_up()
    visit.ok("processes", f"mediaflow up runs (pid {up})" if up else "mediaflow is not up")


def _remove_marks() -> None:
    with Lock("up") as lock:
        if lock.taken:
            ready_file().unlink(missing_ok=True)
            to_take_down().unlink(missing_ok=True)


def _left_workers() -> list[tuple[int, str]]:
    """Workers of this home whose embedded queue is gone; with an outside one they may run alone."""
    deadline = time.monotonic() + ENDING
    while outside_url() is None and holder("up") is None and (found := _workers()):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.2)
    return []


def _workers() -> list[tuple[int, str]]:
    mark = b"MEDIAFLOW_HOME=" + os.fsencode(home())
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"workers" not in words or mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            found.append((int(folder.name), os.fsdecode(words[words.index(b"workers") + 1])))
    return found
