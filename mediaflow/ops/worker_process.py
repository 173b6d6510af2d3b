"""A worker process that is kept running: started again when it ends, replaced when it was stopped."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from mediaflow.lifeline import is_stopped
from mediaflow.ops.processes import Planned, log_path, start_worker

# A worker that ends at once, again and again, is started ever more seldom.
LONGEST_PAUSE = 10.0
# One that was stopped (SIGSTOP) and does not go on for so long is replaced.
STANDSTILL_SECONDS = 20.0


@dataclass(slots=True)
class WorkerProcess:
    """One of the planned workers; `say` tells a person what happens. Times are of the monotonic clock."""

    planned: Planned
    say: Callable[[str], None]
    started: float
    process: subprocess.Popen[bytes] = field(init=False)
    _pause: float = field(default=1.0, init=False)
    _start_again: float | None = field(default=None, init=False)
    _stopped: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.process = start_worker(self.planned)

    def tend(self, now: float) -> bool:
        """To be called again and again; True when it has just ended."""
        if self.process.poll() is None:
            self._replace_when_stopped(now)
            return False
        if self._start_again is None:
            self._plan_next_start(now)
            return True
        if now >= self._start_again:
            try:
                self.process, self.started = start_worker(self.planned), now
                self._start_again = None
            except OSError as error:  # no memory, no disk: it may pass
                self.say(f"{self.planned.name}: cannot be started ({error})")
                self._start_again = now + LONGEST_PAUSE
        return False

    def _plan_next_start(self, now: float) -> None:
        if now - self.started > LONGEST_PAUSE:
            self._pause = 1.0
        self._start_again = now + self._pause
        self.say(
            f"{self.planned.name}: ended (status {self.process.returncode}), see "
            f"{log_path(self.planned.name)}; starting it again in {self._pause:g} s"
        )
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _replace_when_stopped(self, now: float) -> None:
        """End a worker that somebody has stopped and left so: another takes its place."""
        if not is_stopped(self.process.pid):
            self._stopped = None
        elif self._stopped is None:
            self._stopped = now
        elif now - self._stopped > STANDSTILL_SECONDS:
            self.say(f"{self.planned.name}: was stopped and does not go on; replacing it")
            self.process.kill()
