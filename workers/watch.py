"""The worker's view of its child: started when needed, watched, killed and replaced.

The limits are for one file: seconds it may take, and megabytes that the child may come to hold.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mediaflow.errors import ModelError, StorageError
from mediaflow.lifeline import is_stopped
from workers.channel import Channel, ChannelClosed

LOAD_SECONDS = 600
TICK_SECONDS = 0.5
GRACE_SECONDS = 3.0
EXIT_SECONDS = 5.0
STOPPED_SECONDS = 20.0

Item = dict[str, Any]
Result = dict[str, Any]
# Close it when it is not read to its end: the child is then replaced.
Results = Generator[tuple[int, Result], None, None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost."""

    seconds: float
    memory_mb: int


@dataclass(slots=True)
class Watch:
    """A child for one queue, and the loop that gets items through it.

    `tick` is called about twice a second while the child works; `stopping` says that the worker
    is to stop: the item in hand gets a few seconds more.
    """

    queue: str
    limits: Limits
    threads: int
    tick: Callable[[], None]
    stopping: Callable[[], bool]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _channel: Channel | None = field(default=None, init=False)
    _looked: float = field(default=0.0, init=False)
    _still_since: float | None = field(default=None, init=False)

    def work(self, items: Sequence[Item]) -> Results:
        """Yield (index, result) for each item as it is done, or stop early when the worker is to stop.

        A result holds what the handler answered, or `reason` and `permanent`. An item that was in
        the child's hands when it died is tried alone in a new child; if it dies again, that is its
        result. Raises ModelError when the child cannot load its models, and StorageError when a disk
        refuses: that is nobody's fault, and the items left can be tried again.
        """
        waiting: list[list[int]] = [list(range(len(items)))] if items else []
        while waiting and not self.stopping():
            batch = waiting.pop(0)
            answered: set[int] = set()
            blame = ""
            with contextlib.closing(self._through(items, batch)) as results:
                for index, result in results:
                    if index is None:
                        blame = str(result["reason"])
                    else:
                        answered.add(index)
                        yield index, result
            left = [index for index in batch if index not in answered]
            if not left or self.stopping():
                continue
            if len(batch) == 1:
                yield left[0], {"reason": blame, "permanent": False}
            else:
                waiting[:0] = [[index] for index in left]

    def stop(self) -> None:
        """End the child, if there is one."""
        if self._process is not None:
            self._kill()

    def _through(
        self, items: Sequence[Item], batch: list[int]
    ) -> Generator[tuple[int | None, Result], None, None]:
        """Results of one batch by index; last (None, reason) when the child did not get through it."""
        channel = self._started()
        if channel is None:
            return
        hands, since, stop_by = len(batch), time.monotonic(), float("inf")
        open_ = len(batch)
        try:
            channel.send({"items": [items[index] for index in batch]})
            while open_:
                message = channel.receive(TICK_SECONDS)
                now = time.monotonic()
                if self.stopping():
                    stop_by = min(stop_by, now + GRACE_SECONDS)
                if message is None:
                    if not self._alive():
                        raise ChannelClosed
                elif "trouble" in message:
                    raise StorageError(message["trouble"])
                elif "begin" not in message:
                    open_ -= 1
                    yield batch[message["index"]], message["result"]
                elif self.stopping():
                    return
                else:
                    hands, since = len(message["begin"]), now
                # What was said meanwhile is heard first: the worker itself may have had to wait.
                seconds = now - since if message is None else 0.0
                reason = self._look(hands, seconds) if now < stop_by else "the worker was stopped"
                if open_ and reason:
                    self._kill()
                    yield None, {"reason": reason}
                    return
        except ChannelClosed:
            yield None, {"reason": self._epitaph()}
        finally:
            # What the child says later of this batch must not be taken for results of the next.
            if open_:
                self.stop()

    def _look(self, hands: int, seconds: float) -> str:
        """About twice a second, however quick the items: a heartbeat, and why the child must be killed."""
        now = time.monotonic()
        if now - self._looked < TICK_SECONDS:
            return ""
        self._looked = now
        self.tick()
        return self._over(seconds, hands)

    def _alive(self) -> bool:
        # A process of its own that it leaves behind can hold the channel open.
        return self._process is not None and self._process.poll() is None

    def _over(self, seconds: float, hands: int) -> str:
        """Why the child must be killed now; empty when it may go on."""
        if seconds > self.limits.seconds * hands:
            return f"took longer than the {self.limits.seconds:g} seconds that one file may take"
        if self._has_stood_still():
            return "the process that analysed it was stopped and did not go on"
        if self._memory_mb() > self.limits.memory_mb:
            return f"took more than the {self.limits.memory_mb} MB of memory that one file may take"
        return ""

    def _has_stood_still(self) -> bool:
        """Whether somebody has stopped the child (SIGSTOP) and left it so."""
        assert self._process is not None
        if not is_stopped(self._process.pid):
            self._still_since = None
        elif self._still_since is None:
            self._still_since = time.monotonic()
        return self._still_since is not None and time.monotonic() - self._still_since > STOPPED_SECONDS

    def _memory_mb(self) -> float:
        assert self._process is not None
        try:
            with open(f"/proc/{self._process.pid}/statm") as file:
                pages = int(file.read().split()[1])
        except (OSError, IndexError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 1_000_000

    def _started(self) -> Channel | None:
        """The channel to a child that is ready; None when the worker is to stop before it is."""
        if self._channel is not None and self._alive():
            return self._channel
        self.stop()
        ours, theirs = socket.socketpair()
        threads = str(self.threads)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workers.child", str(theirs.fileno()), self.queue],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        )
        theirs.close()
        self._channel = Channel(ours)
        return self._channel if self._wait_until_ready(self._channel) else None

    def _wait_until_ready(self, channel: Channel) -> bool:
        """True when the models are loaded, False when the worker is to stop before they are."""
        deadline = time.monotonic() + LOAD_SECONDS
        try:
            while time.monotonic() < deadline:
                message = channel.receive(TICK_SECONDS)
                if message is None:
                    self.tick()
                    if self.stopping():
                        self._kill()
                        return False
                    if not self._alive():
                        raise ChannelClosed
                elif "broken" in message:
                    self._kill()
                    raise ModelError(message["broken"])
                else:
                    return True
        except ChannelClosed:
            raise ModelError(f"The models of {self.queue} could not be loaded: {self._epitaph()}.") from None
        self._kill()
        raise ModelError(f"The models of {self.queue} were not loaded within {LOAD_SECONDS} seconds.")

    def _epitaph(self) -> str:
        """How the child died, in words."""
        assert self._process is not None
        try:
            status = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            status = None  # it let go of the channel and hangs
        self._kill()
        if status is None:
            return "ended the process that analysed it"
        if status == -signal.SIGKILL:
            return "killed the process that analysed it (out of memory?)"
        if status < 0:
            return f"crashed the process that analysed it ({signal.Signals(-status).name})"
        return f"ended the process that analysed it (exit status {status})"

    def _kill(self) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._channel is not None:
            self._channel.close()
        self._process = self._channel = None
