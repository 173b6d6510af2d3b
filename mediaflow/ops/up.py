"""Up: keeps the processes of an installation running, and stops them in order."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from redis.exceptions import RedisError

from mediaflow.catalog.database import connect as open_catalog
from mediaflow.errors import MediaflowError, UnreachableError, UsageError
from mediaflow.fleet.settings import load_fleet
from mediaflow.fleet.state import left_alone
from mediaflow.media import cache
from mediaflow.ops.heal import Healer
from mediaflow.ops.lock import Lock, SharedLock
from mediaflow.ops.orphans import end_stopped_orphans
from mediaflow.ops.processes import (
    CONTROLLER,
    keep_logs_short,
    needs_queue,
    planned_fleet,
    planned_workers,
    stop_processes,
)
from mediaflow.ops.running import LOCK, WAITING, ready_file, to_take_down
from mediaflow.ops.worker_process import STANDSTILL_SECONDS, WorkerProcess
from mediaflow.queues import embedded
from mediaflow.queues.connection import connect, explain
from mediaflow.queues.overview import served_queues
from mediaflow.settings import load_settings

STOP_SECONDS = 20
# After the workers: ending all boxes may take so much longer, with the look at the market that is under way.
FLEET_STOP_SECONDS = 90
# Less than the 5 seconds after which honcho kills what it has told to stop.
PROCFILE_SECONDS = 4.5
HEAL_SECONDS = 5
TIDY_SECONDS = 600


@dataclass(slots=True)
class Supervisor:
    """Runs the embedded queue and the workers until it is told to stop.

    `say` tells a person what happens. Workers that end are started again; the jobs they had in
    their hands go back into the queue. `while_waiting`: it ends with the last waiting command.
    """

    say: Callable[[str], None]
    queue_only: bool = False
    while_waiting: bool = False
    _stop: bool = field(default=False, init=False)
    _server: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _running: list[WorkerProcess] = field(default_factory=list, init=False)
    _healer: Healer = field(default_factory=Healer, init=False)
    _said: str = field(default="", init=False)
    _waiting: SharedLock = field(default_factory=lambda: SharedLock(WAITING), init=False)

    def run(self) -> None:
        """Start everything, watch it until SIGINT or SIGTERM, then stop it in order.

        Raises UsageError when another `up` runs on this home, UnreachableError without a queue.
        """
        # The lock `waiting` is released last: a command that comes now must start another `up`.
        with self._waiting, Lock(LOCK) as lock:
            if not lock.taken:
                raise UsageError(f"mediaflow is up already (pid {lock.holder}). `mediaflow down` stops it.")
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                    signal.signal(number, self._request_stop)
            for left in (ready_file(), to_take_down()):  # left by a killed `up`
                left.unlink(missing_ok=True)
            if self.while_waiting:
                to_take_down().touch()
            open_catalog().close()
            try:
                self._start_all()
                self._watch()
            finally:
                self._stop_all()

    def _say(self, message: str) -> None:
        # The terminal may be gone; the work must not end with it, nor the stopping.
        with contextlib.suppress(OSError):
            self.say(message)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop = True

    def _is_unneeded(self) -> bool:
        """Whether it runs only for waiting commands, and the last of them has ended.

        From then on it holds their lock alone: a new command waits until it has stopped.
        """
        if not to_take_down().exists() or not self._waiting.take_alone():
            return False
        self._say("no command waits for this work any more")
        return True

    def _start_all(self) -> None:
        if self._is_unneeded():
            self._stop = True
            return
        if needs_queue():
            self._server = embedded.start()
            self._say("queue: embedded Valkey is up")
        self._heal()
        if self.queue_only:
            return
        for planned in planned_workers(load_settings()):
            if self._stop:
                return
            self._running.append(WorkerProcess(planned, self._say, time.monotonic()))
        self._say(f"workers: {', '.join(running.planned.name for running in self._running)}")
        self._start_fleet()
        ready_file().parent.mkdir(parents=True, exist_ok=True)
        ready_file().touch()

    def _start_fleet(self) -> None:
        """Start the gateway and the controller; where something is missing, all goes on without boxes."""
        try:
            planned = planned_fleet(load_fleet())
        except MediaflowError as error:
            self._say(f"fleet: no boxes are rented. {error}")
            return
        for each in planned:
            self._running.append(WorkerProcess(each, self._say, time.monotonic()))
        if planned:
            self._say("fleet: boxes are rented when there is work worth it (mediaflow fleet status)")

    def _watch(self) -> None:
        healed = tidied = answered = time.monotonic()
        while not self._stop and not self._is_unneeded():
            time.sleep(0.2)
            now = time.monotonic()
            if self._server is not None and self._server.poll() is not None:
                self._restart_queue(self._server.returncode)
            died = [running for running in self._running if running.tend(now)]
            if died or now - healed > HEAL_SECONDS:
                if self._heal():
                    answered = time.monotonic()
                elif self._server is not None and time.monotonic() - answered > STANDSTILL_SECONDS:
                    if not embedded.answers():
                        self._say("queue: the embedded Valkey does not answer; replacing it")
                        self._server.kill()
                    answered = time.monotonic()
                healed = time.monotonic()
            if now - tidied > TIDY_SECONDS:
                tidied = now
                self._tidy()

    def _restart_queue(self, status: int) -> None:
        self._say(f"queue: the embedded Valkey ended (status {status}); starting it again")
        time.sleep(1)  # one that ends at once must not keep the machine busy
        try:
            self._server = embedded.start()
        except (MediaflowError, OSError) as error:  # its disk may be full: that passes
            self._say(f"queue: {error}")

    def _tidy(self) -> None:
        """Keep renditions and logs within their bounds; what does not work now is tried again later."""
        try:
            keep_logs_short()
            cache.remove_unfinished()
            with contextlib.closing(open_catalog()) as db:
                cache.prune(db, load_settings().renditions)
        except (MediaflowError, sqlite3.Error, OSError) as error:
            self._say(f"renditions and logs could not be tidied: {error}")

    def _heal(self) -> bool:
        """Take back what dead workers had, and enqueue what is lost or due; False when it cannot."""
        for orphan in end_stopped_orphans():
            self._say(f"{orphan.name}: was stopped when its mediaflow up was killed; it is ended")
        try:
            with contextlib.closing(connect()) as connection, contextlib.closing(open_catalog()) as db:
                reclaimed = self._healer.reclaim(db, connection)
                healed = self._healer.heal(db, connection)
        except Exception as error:  # whatever it is: the processes must go on being watched
            self._say_once(f"queue: {explain(error)}")
            return False
        self._said = ""
        if reclaimed.waiting:
            self._say(f"queue: {reclaimed.waiting} jobs of workers that ended are waiting again")
        if reclaimed.given_up:
            self._say(f"queue: {len(reclaimed.given_up)} jobs that took down workers are taken apart")
        if healed:
            self._say(f"queue: {healed} files whose work was lost or failed are tried again")
        return True

    def _say_once(self, message: str) -> None:
        """Say what was not said last."""
        if message != self._said:
            self._said = message
            self._say(message)

    def _stop_all(self) -> None:
        ready_file().unlink(missing_ok=True)
        self._say("stopping: workers finish the file in hand and give back the rest")
        fleet = [running.process for running in self._running if running.planned.name == CONTROLLER]
        for process in fleet:  # it ends all boxes, which takes a while
            process.terminate()
        stop_processes(
            (running.process for running in self._running if running.process not in fleet), STOP_SECONDS
        )
        stop_processes(fleet, FLEET_STOP_SECONDS)
        if self.queue_only:
            self._outlast_workers()
        if self._server is not None:
            embedded.stop(self._server)
        to_take_down().unlink(missing_ok=True)
        self._say("; ".join(filter(None, ["stopped", left_alone()])))

    def _outlast_workers(self) -> None:
        """Let the workers of a Procfile, which are told to stop at the same moment, give back their jobs."""
        deadline = time.monotonic() + PROCFILE_SECONDS
        with contextlib.suppress(RedisError, UnreachableError), contextlib.closing(connect()) as connection:
            while served_queues(connection) and time.monotonic() < deadline:
                time.sleep(0.1)
