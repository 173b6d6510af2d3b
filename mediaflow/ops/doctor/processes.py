"""Processes: what an `up` that was killed left, in files and in processes of this home."""

from __future__ import annotations

import time

from mediaflow.ops.doctor.report import Examination
from mediaflow.ops.lock import Lock, holder
from mediaflow.ops.orphans import Worker, end_stopped_orphans, stopped_orphans, workers_of_home
from mediaflow.ops.running import is_up, ready_file, to_take_down
from mediaflow.queues.connection import outside_url

# Workers end by themselves this long (seconds) after their `up` at most.
ENDING = 3.0


def examine(visit: Examination) -> None:
    """Look for marks and workers of an `up` that is not running any more."""
    with visit.part("processes"):
        marks = [mark for mark in (ready_file(), to_take_down()) if mark.exists()]
        if marks and is_up() is None:
            names = ", ".join(f"run/{mark.name}" for mark in marks)
            visit.mend("processes", f"{names} of a mediaflow up that was killed", "removed", _remove_marks)
        orphans = stopped_orphans()
        if orphans:
            names = ", ".join(f"{worker.name} (pid {worker.pid})" for worker in orphans)
            visit.mend(
                "processes",
                f"stopped workers of a mediaflow up that was killed: {names}",
                "ended",
                end_stopped_orphans,
            )
        for worker in _left_workers(orphans):
            visit.problem(
                "processes",
                f"the worker {worker.name} (pid {worker.pid}) runs without a queue",
                f"kill {worker.pid}",
            )
    up = is_up()
    visit.ok("processes", f"mediaflow up runs (pid {up})" if up else "mediaflow is not up")


def _remove_marks() -> None:
    with Lock("up") as lock:
        if lock.taken:
            ready_file().unlink(missing_ok=True)
            to_take_down().unlink(missing_ok=True)


def _left_workers(told: list[Worker]) -> list[Worker]:
    """Others of this home whose embedded queue is gone; with an outside one they may run alone."""
    deadline = time.monotonic() + ENDING
    while outside_url() is None and holder("up") is None:
        found = [worker for worker in workers_of_home() if worker not in told]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)
    return []
