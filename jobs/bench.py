"""What a stage needs of the worker that runs it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Protocol

from redis import Redis

Item = dict[str, Any]
Result = dict[str, Any]


class Bench(Protocol):
    """What a worker gives to the stage it runs."""

    connection: Redis
    job: str

    def work(self, items: Sequence[Item]) -> Generator[tuple[int, Result], None, None]:
        """Results by index as they come, to be closed; ends early when the worker is to stop."""

    def wait(self, seconds: float) -> bool:
        """Wait with heartbeats; False when the worker is to stop."""
