"""A queue as a worker of this machine sees it where work is left to boxes until a set time (`work: wait`).

Jobs that must stay at home are done at any time; others are passed over while they wait for boxes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing

from mediaflow.catalog.database import connect as open_catalog
from mediaflow.errors import MediaflowError
from mediaflow.fleet.backlog import read_backlog
from mediaflow.fleet.resumption import resumes
from mediaflow.fleet.settings import FleetSettings
from mediaflow.queues.lineage import is_at_home
from workers.gateway.leaving_queue import LeavingQueue, Look

log = logging.getLogger("mediaflow.worker")

# What waits is looked at again after so many seconds, when a job stands there that might have to wait.
LOOK_SECONDS = 10.0


class Patience:
    """Whether this machine still leaves to boxes what waits now, by settings, catalog and clock."""

    def __init__(self, fleet: FleetSettings, now: Callable[[], float] = time.time) -> None:
        self._fleet, self._now = fleet, now
        self._waits = True
        self._looked = float("-inf")

    def waits(self) -> bool:
        """True until the set time; where the catalog cannot be read, what it was."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            try:
                with closing(open_catalog()) as catalog:
                    backlog = read_backlog(catalog, self._fleet)
                now = self._now()
                self._waits = resumes(self._fleet.fallback, backlog, now) > now
            except MediaflowError as error:
                log.warning("The catalog cannot be read: %s", error)
        return self._waits


def home_queue(fleet: FleetSettings, task: str, stopping: Callable[[], bool]) -> type[LeavingQueue] | None:
    """The queue class for a worker of this task on this machine; None where nothing waits for boxes."""
    if not fleet.enabled or fleet.fallback.work != "wait" or task not in fleet.tasks():
        return None
    patience, told = Patience(fleet), stopping

    class HomeQueue(LeavingQueue):
        stopping = staticmethod(told)
        look = Look()

        @classmethod
        def passes(cls, id: str) -> bool:
            return is_at_home(id) or not patience.waits()

    return HomeQueue
