"""`python -m benchmarks.unguarded QUEUE`: a worker without its guards, to see what they cost.

Models and decoders live in the worker itself: no child, nobody who watches it, no limits, and what jobs and
findings hold is taken on trust. One bad file takes it down.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from jobs import stages
from jobs.handlers import handler_for
from mediaflow.queues import arguments, record
from workers import bench
from workers.watch import Item, Results, Watch


class Unwatched(Watch):
    """Items go to the handler by a plain call."""

    def work(self, items: Sequence[Item]) -> Results:
        if not hasattr(_loaded, "handler"):
            _loaded.handler = handler_for(self.queue)
            _loaded.handler.load()
        handler = _loaded.handler
        for first in range(0, len(items), handler.together):
            part = items[first : first + handler.together]
            try:
                results: list[dict[str, Any]] = handler.handle(part)
            except Exception as error:
                results = [{"reason": str(error), "permanent": True} for _ in part]
            for index, result in enumerate(results, first):
                yield index, {"seconds": 0.0} | result
            self.tick()


class _Loaded:
    handler: Any


_loaded = _Loaded()


def trust() -> None:
    """Take what jobs and findings hold as it comes."""
    record.checked = dict  # type: ignore[assignment]
    arguments.check = lambda *_: None
    stages.bounded = lambda result: (result, 0)
    stages.bounded_prepared = lambda result: result
    stages.check_finding = lambda *given: [_values(vector["value"]) for vector in given[2]["vectors"]]


def _values(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<f2").astype(np.float32)


def main(queue: str) -> None:
    """Run the worker until it is told to stop."""
    from workers.__main__ import main as work

    trust()

    # As the workers' children are, so that other processes weigh the same on both.
    os.nice(5)
    threads = "2"
    os.environ |= {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    bench.Watch = Unwatched  # type: ignore[misc]
    work(queue)


if __name__ == "__main__":
    main(sys.argv[1])
