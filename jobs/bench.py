"""What a stage needs of the worker that runs it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, TypeVar

from redis import Redis

Item = dict[str, Any]
Result = dict[str, Any]
T = TypeVar("T")


class Bench(Protocol):
    """What a worker gives to the stage it runs."""

    connection: Redis
    job: str

    def work(self, items: Sequence[Item]) -> Generator[tuple[int, Result], None, None]:
        """Results by index as they come, to be closed; ends early when the worker is to stop."""

    def wait(self, seconds: float) -> bool:
        """Wait with heartbeats; False when the worker is to stop."""

    def keep(self, arguments: Sequence[Any]) -> None:
        """Write down the arguments of what is left of the job, for who takes it over after a crash."""

    def patiently(self, action: Callable[[], T]) -> T:
        """Do something, again and again while the queue, the catalog or a disk refuses.

        Raises what they raised when the worker is to stop meanwhile.
        """
