"""A pickle that leaves a trace when it is read."""

from __future__ import annotations

import pickle
from pathlib import Path


class Bomb:
    """Reading its pickle touches `trace`."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)

    def explode(self) -> None:
        """Read the pickle, as nothing else may."""
        pickle.loads(pickle.dumps(self))
