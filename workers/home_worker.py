"""A worker of this machine, which may have to leave to boxes what they can do."""

from __future__ import annotations

from mediaflow.fleet.settings import load_fleet
from workers.bench import WarmBench
from workers.home_queue import home_queue
from workers.worker import WarmWorker


class HomeWorker(WarmWorker):
    """RQ's worker at a queue from which it may not have everything at any time."""

    def __init__(self, queue: str, bench: WarmBench) -> None:
        self.told = False
        if passing := home_queue(load_fleet(), queue, self.is_told):
            self.queue_class = passing
        super().__init__(queue, bench)
