"""What `mediaflow status` answers: queues, workers, runs, and whether all that is wanted is done."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import asdict
from typing import Any

from redis.exceptions import RedisError

from mediaflow.catalog import runs, work
from mediaflow.catalog.locations import Scope
from mediaflow.errors import UnreachableError
from mediaflow.fleet.ledger import ledger_path, open_ledger
from mediaflow.fleet.settings import load_fleet
from mediaflow.queues.connection import connect, outside_url, redis_url, without_password
from mediaflow.queues.overview import WorkerState, queues, refusals, workers
from mediaflow.queues.refused import count
from mediaflow.settings import all_queues


def overview(db: sqlite3.Connection) -> dict[str, Any]:
    """The state of the installation in the form `mediaflow status --json` prints."""
    url = redis_url()
    answer: dict[str, Any] = {
        "redis": {
            "url": without_password(url) if url else None,
            "embedded": outside_url() is None,
            "reachable": True,
        }
    }
    try:
        connection = connect()
        serving = workers(connection)
        answer["queues"] = [asdict(queue) for queue in queues(connection, all_queues(), serving)]
        answer["workers"] = [_shown(worker) for worker in serving]
        answer["refused"] = count(connection)
        answer["trouble"] = refusals(connection) + [
            f"{worker.queue}: {worker.trouble}" for worker in serving if worker.trouble
        ]
    except (RedisError, UnreachableError):
        answer["redis"]["reachable"] = False
        answer |= {"queues": [], "workers": [], "refused": 0, "trouble": []}
    answer["runs"] = [run_state(db, row) for row in runs.newest(db, 10)]
    answer |= _fleet()
    return answer | work.completeness(db)


def _fleet() -> dict[str, Any]:
    """The state of the boxes, where the fleet is enabled or some are left of a time when it was."""
    fleet = load_fleet()
    if not fleet.enabled and not ledger_path().exists():
        return {}
    from mediaflow.fleet.state import fleet_state

    with closing(open_ledger()) as db:
        state = fleet_state(db, fleet)
    return {"fleet": state} if fleet.enabled or state["boxes"] else {}


def _shown(worker: WorkerState) -> dict[str, Any]:
    """A worker without what it waits for, which is told apart."""
    return {key: value for key, value in asdict(worker).items() if key != "trouble"}


def run_state(db: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    """A run in the form the command line prints. One that nobody waited for ended with its last file."""
    roots = json.loads(row["roots"])
    ended = row["ended"]
    if ended is None:
        scope = Scope(row["library"], tuple(os.fsencode(root) for root in roots))
        ended = None if work.open_tasks(db, scope) else runs.last_change(db, row["id"]) or row["started"]
    return {
        "run": row["id"],
        "library": row["library"],
        "roots": roots,
        "tasks": row["tasks"].split(","),
        "started": row["started"],
        "ended": ended,
        "files": row["files"],
        "new": row["new"],
        "known": row["known"],
        "gone": row["gone"],
        "skipped": json.loads(row["skipped"]),
    }
