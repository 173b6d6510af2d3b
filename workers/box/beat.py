"""The box's heartbeat: how much each task did, and what the log holds, every ten seconds."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from threading import Thread

from workers.box.life import Life
from workers.box.link import Cut, Link, Refused
from workers.box.serve import Busy

log = logging.getLogger("mediaflow.box")

BEAT_SECONDS = 10.0
AGAIN_SECONDS = 2.0
MOST_LINES = 60
MOST_LETTERS = 300
MOST_SAID = 8000


class Said(logging.Handler):
    """The last lines of the log, without the box's secrets."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__(logging.INFO)
        self._secrets = [secret for secret in secrets if secret]
        self._lines: deque[str] = deque(maxlen=MOST_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        for secret in self._secrets:
            line = line.replace(secret, "…")
        self._lines.append(line[:MOST_LETTERS])

    def take(self) -> str:
        """What was said since the last time."""
        lines = list(self._lines)
        self._lines.clear()
        return "\n".join(lines)[-MOST_SAID:]


class Beats:
    """A thread that beats; what one beat could not say, the next says."""

    def __init__(self, link: Link, life: Life, said: Said) -> None:
        self._link, self._life, self._said = link, life, said
        self._busy: Mapping[str, Busy] | None = None  # not before it has its models
        self._thread = Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ready(self, busy: Mapping[str, Busy]) -> None:
        """The models are there: from now on say how busy each task was."""
        self._busy = busy

    def _run(self) -> None:
        pause = BEAT_SECONDS
        while self._life.wait(pause):
            pause = BEAT_SECONDS
            busy = self._busy
            taken = {task: each.take() for task, each in (busy or {}).items()}
            done = {task: each for task, each in taken.items() if each["items"]}
            try:
                self._link.beat({"busy": done, "log": self._said.take(), "ready": busy is not None})
            except (Cut, Refused) as error:
                log.warning("No beat: %s", error)
                pause = AGAIN_SECONDS  # a box that is not heard of for half a minute is given up
                for task, each in taken.items():
                    (busy or {})[task].add(int(each["items"]), each["seconds"])
