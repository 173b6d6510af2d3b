"""Where faults happen, and how they find their victims."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.processes import Process
from tests.chaos.system import System
from tests.chaos.traffic import Traffic

QUEUES = ("prepare", "look", "ocr", "embed", "index")


@dataclass(slots=True)
class Scene:
    """Where a fault happens. `pace` stretches what lasts: 1 is a minute's outage."""

    system: System
    traffic: Traffic
    chance: random.Random
    pace: float

    def victim(self, *roles: str, busy: bool = False) -> Process | None:
        """One of those with these roles; with `busy`, one that has a file in hand, if there soon is one."""
        found = self.system.processes(*roles)
        for _ in range(30 if busy else 0):
            account = self.system.account()
            if working := [process for process in found if account.in_hand(process.pid)]:
                found = working
                break
            time.sleep(0.1)
            found = self.system.processes(*roles)
        return self.chance.choice(sorted(found, key=lambda process: process.role)) if found else None

    def role(self, kind: str) -> str:
        """A worker's or a child's role."""
        return (
            f"{kind} {self.chance.choice([queue for queue in QUEUES if (kind, queue) != ('child', 'index')])}"
        )

    def last(self, least: float, most: float) -> float:
        """Let it last for some seconds."""
        seconds = self.chance.uniform(least, most)
        time.sleep(seconds)
        return seconds


class Impossible(Exception):
    """This installation cannot have such a fault, now or later."""


class NobodyThere(Exception):
    """The fault found nothing to harm; it is not counted."""


def kill(scene: Scene, *roles: str, busy: bool = False) -> str:
    process = scene.victim(*roles, busy=busy)
    if process is None or not scene.system.kill(process):
        raise NobodyThere
    return f"{process.role} ({process.pid})"


@contextlib.contextmanager
def client(scene: Scene) -> Iterator[Redis]:
    try:
        with scene.system.client() as client:
            client.ping()
            yield client
    except (RedisError, OSError, ValueError) as error:
        raise NobodyThere from error
