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
from mediaflow.catalog.undone import Undone
from mediaflow.ops.heal import enqueue_undone
from mediaflow.settings import load_settings


def retry(db: sqlite3.Connection, connection: Redis, library: str, failed: Sequence[Failure]) -> int:
    """Enqueue the files of these failures again, each for what failed; returns the run's number."""
    tasks_of: dict[bytes, set[str]] = {}
    for failure in failed:
        path = os.fsencode(failure.path)
        stages = _tasks_of_run(db, library, path) if failure.stage == "prepare" else {failure.stage}
        tasks_of.setdefault(path, set()).update(stages)
    with transaction(db):
        reset(db, Scope(library), failed)
        run = runs.begin(db, library, tuple(tasks_of), sorted(set().union(*tasks_of.values())))
    files = [Undone(library, run, path, tuple(tasks)) for path, tasks in tasks_of.items()]
    enqueue_undone(db, connection, files, together=1)
    return run


def _tasks_of_run(db: sqlite3.Connection, library: str, path: bytes) -> set[str]:
    """The tasks of the submit that a file was last in."""
    location = locations.of_path(db, path, library)
    run = runs.by_number(db, location["run"]) if location else None
    return set(run["tasks"].split(",")) if run else set(load_settings().default_tasks())
