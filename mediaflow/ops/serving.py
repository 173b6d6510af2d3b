"""What `submit --wait` needs while it waits: everything running, and put back as it was afterwards."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mediaflow.errors import UnreachableError
from mediaflow.ops.processes import Planned, log_path, start_worker
from mediaflow.ops.up import STOP_SECONDS, is_up, start_detached, stop_processes, stop_running
from mediaflow.queues.connection import connect
from mediaflow.queues.overview import served_queues

SERVED_SECONDS = 60


@dataclass(slots=True)
class Health:
    """Tells whether what was started still runs."""

    up: int | None
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def check(self) -> None:
        """Raise UnreachableError when a process that is needed has ended."""
        if self.up is not None and is_up() is None:
            raise UnreachableError(f"mediaflow was stopped while this run waited; submit again. See {log_path('up')}.")
        for name, process in self.workers.items():
            if process.poll() is not None:
                raise UnreachableError(f"The worker for {name} ended; its log is {log_path(name)}.")


@contextmanager
def serving(tasks: Sequence[str]) -> Iterator[Health]:
    """Bring up what these tasks need and is not running; take that down again at the end.

    Raises UnreachableError when it cannot be brought up.
    """
    ours = is_up() is None
    health = Health(start_detached() if ours else None)
    try:
        connection = connect()
        needed = ["prepare", *tasks, "index"]
        _wait_served(connection, needed)
        for queue in set(needed) - served_queues(connection):
            health.workers[queue] = start_worker(Planned(queue, queue))
        yield health
    finally:
        stop_processes(health.workers.values(), STOP_SECONDS)
        if ours:
            stop_running()


def _wait_served(connection: object, needed: Sequence[str], seconds: float = 10) -> None:
    """Workers take a moment to say that they are there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if set(needed) <= served_queues(connection):  # type: ignore[arg-type]
            return
        time.sleep(0.1)
