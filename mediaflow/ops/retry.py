"""Retry: enqueue again what failed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from redis import Redis

from mediaflow.catalog import locations, runs
from mediaflow.catalog.database import transaction
from mediaflow.catalog.failures import Failure, reset
from mediaflow.catalog.locations import Scope
from mediaflow.ops.plan import plan_for
from mediaflow.ops.submit import enqueue_files
from mediaflow.settings import load_settings


def retry(db: sqlite3.Connection, connection: Redis, library: str, failed: Sequence[Failure]) -> int:
    """Enqueue the files of these failures again, each for what failed; returns the run's number."""
    wanted: dict[bytes, set[str]] = {}
    for failure in failed:
        path = os.fsencode(failure.path)
        stages = _tasks_of_run(db, library, path) if failure.stage == "prepare" else {failure.stage}
        wanted.setdefault(path, set()).update(stages)
    alike: dict[tuple[str, ...], list[bytes]] = {}
    for path, stages in wanted.items():
        alike.setdefault(tuple(task for task in load_settings().tasks if task in stages), []).append(path)
    everything = sorted({task for tasks in alike for task in tasks})
    with transaction(db):
        reset(db, Scope(library), failed)
        run = runs.begin(db, library, tuple(wanted), everything)
    for tasks, paths in alike.items():
        enqueue_files(db, lambda: connection, plan_for(Scope(library, tuple(paths)), tasks), run)
    return run


def _tasks_of_run(db: sqlite3.Connection, library: str, path: bytes) -> set[str]:
    """The tasks of the submit that a file was last in."""
    location = locations.of_path(db, path, library)
    run = runs.by_number(db, location["run"]) if location else None
    return set(run["tasks"].split(",")) if run else set(load_settings().default_tasks())
