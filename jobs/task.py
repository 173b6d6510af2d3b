"""The interface of a task, and the registry through which workers find it."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from jobs.agreement import Difference, compare_data, compare_vectors, worst
from mediaflow.errors import ConfigError
from mediaflow.media.rendition import Rendition
from mediaflow.queues.arguments import Form
from mediaflow.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Vector:
    """One vector of a finding: float32, unit length, in the space it names.

    `page` and `time` (seconds) say which picture it was made of.
    """

    space: str
    values: np.ndarray
    page: int | None = None
    time: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one task says of one asset: JSON-able `data` in the form `mediaflow show --json` prints."""

    data: dict[str, Any]
    vectors: tuple[Vector, ...] = field(default=())


class Task(ABC):
    """One kind of analysis. Subclass, set the class variables, register with `@register`.

    `schema` is the form of its findings' data (general limits hold without one), `spaces` names those
    its vectors may be in.

    `load` is called once per process, before the first batch, and never in the command line.
    `analyse` gets up to `together` renditions at once and returns one finding for each, in order.
    It may raise: a batch that raises is run again one rendition at a time, and one that raises
    alone is listed as failed with the error's message as its reason (`MediaError` for what a
    person can understand).
    """

    name: ClassVar[str]
    needs: ClassVar[Literal["pictures", "audio"]]
    together: ClassVar[int] = 1
    schema: ClassVar[type[Form] | None] = None
    spaces: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def load(self) -> None:  # noqa: B027 - a task may have nothing to load
        """Load the models; called once, in the process that will analyse."""

    @classmethod
    def may_write(cls, model: str, source: str | None) -> Mapping[str, int | None]:  # noqa: ARG003
        """The spaces that vectors found with `model` may be in (`source` where they are of text), and how
        many values one has: of a space for which that is None, the first vector says it."""
        return dict.fromkeys(cls.spaces) if source is None else {}

    @classmethod
    def agrees(cls, theirs: Finding, ours: Finding) -> Difference | None:
        """How what a box has found differs from what this machine found of the same asset; None: not at all.

        Vectors are in the order of their spaces and ordinals. A task says here what its models differ by.
        """
        differences = (compare_data(theirs.data, ours.data), compare_vectors(theirs.vectors, ours.vectors))
        return worst([difference for difference in differences if difference])

    @abstractmethod
    def analyse(self, batch: Sequence[Rendition]) -> list[Finding]:
        """One finding for each rendition of the batch, in order."""


# By module and name: two modules may each have a task of one name, and the settings say which is meant.
_registered: dict[tuple[str, str], type[Task]] = {}


def register(task: type[Task]) -> type[Task]:
    """Class decorator: makes a task known under its name."""
    _registered[task.__module__, task.name] = task
    return task


def find_task(name: str) -> type[Task]:
    """The task called `name`; imports the module its entry in the configuration names.

    Raises ConfigError where there is no such entry, or the module does not register it.
    """
    entry = load_settings().tasks.get(name)
    if entry is None:
        raise ConfigError(f"There is no task {name!r}. Tasks are listed in configs/mediaflow.yaml.")
    importlib.import_module(entry.module)
    try:
        return _registered[entry.module, name]
    except KeyError:
        raise ConfigError(f"Module {entry.module} registers no task {name!r}.") from None
