"""The processes that `submit --wait` needs: started for it if necessary, and stopped after it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence

from redis import Redis
from redis.exceptions import RedisError

from mediaflow.catalog.database import connect as open_catalog
from mediaflow.errors import UnreachableError
from mediaflow.ops.heal import Healer
from mediaflow.ops.lock import SharedLock
from mediaflow.ops.processes import Planned, log_path, planned_workers, start_worker, stop_processes
from mediaflow.ops.running import WAITING, is_up, ready_file, start_detached, stop_running, to_take_down
from mediaflow.ops.up import STOP_SECONDS
from mediaflow.queues.connection import connect, explain, outside_url
from mediaflow.queues.overview import served_queues
from mediaflow.queues.recovery import live_jobs
from mediaflow.settings import all_queues, load_settings

START_SECONDS = 30
CHECK_SECONDS = 2
# Seconds of a disturbance until waiting is given up: `up` restarts processes that end.
PATIENCE_SECONDS = 60
# Failed work is retried after pauses; until then it is in no queue.
LOST_SECONDS = 180


class Serving:
    """Starts the missing processes for these tasks, and stops them at the end.

    Every command that waits holds the lock `waiting` with others. An `up` that such a command started
    ends when it can have the lock alone, also after a crash of all of them.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self._needed = {"prepare", *tasks, "index"}
        self._connection: Redis | None = None
        self._local = True  # served by this home's `up`, and not from elsewhere
        self._waiting = SharedLock(WAITING)
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._looked = self._well = self._seen_live = 0.0
        self._healer = Healer()

    def connect(self) -> Redis:
        """The connection to a queue that is served. Raises UnreachableError when there is none."""
        if self._connection is None:
            self._local = not self._served_from_outside()
            if self._local and (is_up() is None or to_take_down().exists()):  # it may be starting
                start_detached(while_waiting=True)
            self._connection = connect()
            self._serve_all(self._connection)
            self._looked = self._well = self._seen_live = time.monotonic()
        return self._connection

    def check(self, open_queues: Iterable[str] = ()) -> None:
        """Check whether the work in these queues can be completed; to be called repeatedly.

        Raises UnreachableError when a needed process has ended and is not restarted.
        """
        now = time.monotonic()
        if now - self._looked < CHECK_SECONDS:
            return
        self._looked = now
        if self._local and is_up() is None:
            raise UnreachableError(
                f"mediaflow was stopped while this run waited; submit again. See {log_path('up')}."
            )
        for name, process in self._workers.items():
            if process.poll() is not None:
                raise UnreachableError(f"The worker for {name} ended; its log is {log_path(name)}.")
        trouble = self._trouble(set(open_queues))
        if not trouble:
            self._well = now
        elif now - self._well > PATIENCE_SECONDS:
            raise UnreachableError(trouble)

    def __enter__(self) -> Serving:
        self._waiting.__enter__()
        self._waiting.share()  # waits while `up` is being stopped
        return self

    def __exit__(self, *error: object) -> None:
        # Another signal must not interrupt the stopping.
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = [(number, signal.signal(number, signal.SIG_IGN)) for number in numbers]
        try:
            stop_processes(self._workers.values(), STOP_SECONDS)
            # The last one that waits stops `up`. It keeps the lock meanwhile: the next one starts another.
            if to_take_down().exists() and self._waiting.take_alone():
                stop_running()
        finally:
            self._waiting.__exit__()
            for number, handler in before:
                signal.signal(number, handler)

    def _served_from_outside(self) -> bool:
        return outside_url() is not None and self._needed <= served_queues(connect())

    def _serve_all(self, connection: Redis) -> None:
        """Wait until the workers of `up` are registered; start those that it does not run."""
        coming = {planned.queue for planned in planned_workers(load_settings())}
        if not ready_file().exists():
            coming = set()  # only the queue is up
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if not (self._needed & coming) - served_queues(connection):
                    break
            except RedisError:  # the connection may break meanwhile
                if time.monotonic() + 1 > deadline:
                    raise
            time.sleep(0.1)
        self._start(self._needed - served_queues(connection))

    def _start(self, queues: Iterable[str]) -> None:
        for queue in sorted(queues):
            if queue not in self._workers:
                self._workers[queue] = start_worker(Planned(queue, queue))

    def _trouble(self, open_queues: set[str]) -> str:
        """Why the work cannot go on now; empty when it can."""
        try:
            # A new connection: the embedded queue may have been restarted.
            with contextlib.closing(connect()) as connection:
                unserved = (self._needed | open_queues) - served_queues(connection)
                live = live_jobs(connection, all_queues())
                if not self._local:  # here no `up` does it
                    with contextlib.closing(open_catalog()) as db:
                        self._healer.reclaim(db, connection)
                        self._healer.heal(db, connection)
        except (RedisError, UnreachableError) as error:
            return explain(error)
        # Earlier submits may have left work for tasks that `up` does not serve.
        self._start(unserved - self._needed)
        if unserved:
            return f"No worker serves {', '.join(sorted(unserved))}; see {log_path(min(unserved))}."
        if live or not open_queues:
            self._seen_live = time.monotonic()
        if time.monotonic() - self._seen_live > LOST_SECONDS:
            return "Work is open but in no queue any more: mediaflow doctor says why."
        return ""
