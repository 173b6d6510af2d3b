"""The box's heartbeat: how much each task did, and what the log holds, every ten seconds."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from threading import Thread

from workers.box.life import Life
from workers.box.link import Cut, Link, Refused
from workers.box.serve import Serving

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
        self._serving: Sequence[Serving] | None = None  # not before it has its models
        self._unable: dict[str, str] = {}
        self._thread = Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def unable(self, task: str, why: str) -> None:
        """The models of a task could not be had: say so."""
        self._unable[task] = why[:MOST_LETTERS]

    def ready(self, serving: Sequence[Serving]) -> None:
        """The models are there: from now on say how busy each task was, and whether its models work."""
        self._serving = serving

    def _run(self) -> None:
        pause = BEAT_SECONDS
        while self._life.wait(pause):
            # A box that is not heard of for half a minute is given up.
            pause = BEAT_SECONDS if self.beat() else AGAIN_SECONDS

    def beat(self) -> bool:
        """Say it now, once; whether it arrived."""
        serving = self._serving
        taken = [(each, each.busy.take()) for each in serving or ()]
        unable = self._unable | {
            each.task: each.unable[:MOST_LETTERS] for each in serving or () if each.unable
        }
        said = {
            "ready": serving is not None,
            "unable": unable,
            "busy": {each.task: done for each, done in taken if done["items"]},
            "log": self._said.take(),
        }
        try:
            self._link.beat(said)
        except (Cut, Refused) as error:
            log.warning("No beat: %s", error)
            for each, done in taken:
                each.busy.add(int(done["items"]), done["seconds"])
            return False
        return True
