"""What `submit --wait` needs while it waits: everything running, and put back as it was afterwards."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from redis import Redis

from mediaflow.errors import UnreachableError
from mediaflow.ops.processes import Planned, log_path, start_worker
from mediaflow.ops.up import STOP_SECONDS, is_up, start_detached, stop_processes, stop_running
from mediaflow.queues.connection import connect
from mediaflow.queues.overview import served_queues


class Serving:
    """Starts, when first needed, what these tasks need and is not running; takes it down at the end."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self._needed = ["prepare", *tasks, "index"]
        self._connection: Redis | None = None
        self._ours = False
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    def connect(self) -> Redis:
        """The connection to a queue that is served. Raises UnreachableError when it cannot be had."""
        if self._connection is None:
            if is_up() is None:
                self._ours = True
                start_detached()
            self._connection = connect()
            self._serve_all(self._connection)
        return self._connection

    def check(self) -> None:
        """Raise UnreachableError when a process that is needed has ended."""
        if self._ours and is_up() is None:
            raise UnreachableError(
                f"mediaflow was stopped while this run waited; submit again. See {log_path('up')}."
            )
        for name, process in self._workers.items():
            if process.poll() is not None:
                raise UnreachableError(f"The worker for {name} ended; its log is {log_path(name)}.")

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *error: object) -> None:
        stop_processes(self._workers.values(), STOP_SECONDS)
        if self._ours:
            stop_running()

    def _serve_all(self, connection: Redis, seconds: float = 10) -> None:
        """Wait until the workers of `up` have said that they are there; start those it does not run."""
        deadline = time.monotonic() + seconds
        while set(self._needed) - served_queues(connection) and time.monotonic() < deadline:
            time.sleep(0.1)
            if not self._ours and not self._expected(connection):
                break
        for queue in sorted(set(self._needed) - served_queues(connection)):
            self._workers[queue] = start_worker(Planned(queue, queue))

    def _expected(self, connection: Redis) -> bool:
        """Whether an `up` is still starting: it has not served anything yet."""
        return not served_queues(connection)
