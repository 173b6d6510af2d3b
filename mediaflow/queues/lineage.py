"""Descent of jobs: a job's id begins with the id of the job that made it, so that one tells of the other.

`run1-prepare-ab12--ocr-cd34--store-ef56` stores what `run1-prepare-ab12--ocr-cd34` found. The last part of
the id of a job that may not leave this machine is `ocr-home-cd34`, of one that box `mediaflow-home-ab12` gave
back `ocr-not-ab12-cd34`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MARK = "--"
HOME = "-home"
NOT = "-not-"


def new_id(run: int, queue: str) -> str:
    """A fresh id for a job that no other job makes."""
    return f"run{run}-{queue}-{uuid.uuid4().hex[:12]}"


def child_id(parent: str, queue: str, *, at_home: bool = False, not_for: str = "") -> str:
    """A fresh id for a job that job `parent` makes; `at_home`: no box may have it; `not_for`: this one."""
    mark = HOME if at_home else _not(not_for) if not_for else ""
    return f"{parent}{MARK}{queue}{mark}-{uuid.uuid4().hex[:12]}"


def is_at_home(job: str) -> bool:
    """Whether no box may have a job."""
    return _kind(job).endswith(HOME)


def may_go_to(job: str, box: str) -> bool:
    """Whether a job may go to this box."""
    return not is_at_home(job) and not _kind(job).endswith(_not(box))


def is_given_back(job: str) -> bool:
    """Whether a job has what a box that had the job before did not do."""
    return is_at_home(job) or NOT in _kind(job)


def _kind(job: str) -> str:
    return job.rpartition(MARK)[2].rpartition("-")[0]


def _not(box: str) -> str:
    # The end of a label tells boxes apart, and ids stay short.
    return f"{NOT}{box.rpartition('-')[2]}"


def ancestors(job: str) -> Iterator[str]:
    """The jobs that a job descends from, the nearest first."""
    while MARK in job:
        job = job.rpartition(MARK)[0]
        yield job


@dataclass(frozen=True)
class Live:
    """The jobs that wait or run now.

    `job in live` says that its work is under way: by itself, or by a job that it made, as when its
    findings wait to be stored.
    """

    ids: frozenset[str] = frozenset()
    _under_way: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        under_way = {*self.ids, *(ancestor for id in self.ids for ancestor in ancestors(id))}
        object.__setattr__(self, "_under_way", frozenset(under_way))

    @classmethod
    def of(cls, ids: Iterable[str]) -> Live:
        return cls(frozenset(ids))

    def __contains__(self, job: object) -> bool:
        return job in self._under_way

    def __bool__(self) -> bool:
        return bool(self.ids)

    def awaits(self, job: str | None) -> bool:
        """Whether a job is under way, or has a maker at work that will enqueue it when it is ready."""
        return job is not None and (job in self or any(ancestor in self.ids for ancestor in ancestors(job)))
