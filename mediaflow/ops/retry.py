"""Retry: enqueue again what failed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from redis import Redis

from mediaflow.catalog import runs
from mediaflow.catalog.database import transaction
from mediaflow.catalog.failures import Failure, reset
from mediaflow.catalog.locations import Scope
from mediaflow.ops.submit import Plan, enqueue_files
from mediaflow.settings import load_settings


def retry(db: sqlite3.Connection, connection: Redis, library: str, failed: Sequence[Failure]) -> int:
    """Enqueue the files of these failures again, for the tasks that failed; returns the run's number."""
    from mediaflow.models.identity import task_model

    settings = load_settings()
    tasks = {failure.stage for failure in failed if failure.stage in settings.tasks}
    if any(failure.stage == "prepare" for failure in failed):
        tasks |= set(settings.default_tasks())
    named = [task for task in settings.tasks if task in tasks]
    roots = tuple(dict.fromkeys(os.fsencode(failure.path) for failure in failed))
    plan = Plan(Scope(library, roots), named, {task: task_model(task) for task in named})
    with transaction(db):
        reset(db, plan.scope, failed)
        run = runs.begin(db, library, roots, named)
    enqueue_files(db, lambda: connection, plan, run)
    return run
