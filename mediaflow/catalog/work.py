"""The ledger: for every (asset, task, model), whether it is wanted, done, failed or does not apply."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Container, Iterable, Sequence

from mediaflow.catalog.database import storable
from mediaflow.catalog.locations import MAX_ATTEMPTS, Candidate, Scope

# A row that asks for nothing more by itself.
SETTLED = (
    "(w.state IN ('done', 'skipped')"
    f" OR (w.state = 'failed' AND (w.permanent OR w.attempts >= {MAX_ATTEMPTS})))"
)
# What nobody can look at any more is not waited for.
THERE = "EXISTS (SELECT 1 FROM locations l WHERE l.asset = w.asset AND l.gone IS NULL)"


def want(
    db: sqlite3.Connection, asset: int, task: str, model: str, job: str, live: Container[str] = ()
) -> bool:
    """Write down that `job` will do this; False when it is done, failed for good, or in a live job."""
    row = db.execute(
        f"SELECT {SETTLED}, w.state, w.job FROM work w WHERE asset = ? AND task = ? AND model = ?",
        (asset, task, model),
    ).fetchone()
    if row and (row[0] or (row[1] == "wanted" and row[2] in live)):
        return False
    db.execute(
        "INSERT INTO work (asset, task, model, state, job, changed) VALUES (?, ?, ?, 'wanted', ?, ?)"
        " ON CONFLICT (asset, task, model) DO UPDATE SET state = 'wanted', job = excluded.job,"
        "  changed = excluded.changed",
        (asset, task, model, job, time.time()),
    )
    return True


def skip(db: sqlite3.Connection, asset: int, task: str, model: str) -> None:
    """Write down that the task does not apply to this asset."""
    _settle(db, asset, task, model, "skipped", None, False)


def finish(db: sqlite3.Connection, asset: int, task: str, model: str) -> None:
    """Write down that the findings are in the catalog."""
    _settle(db, asset, task, model, "done", None, False)


def fail(db: sqlite3.Connection, asset: int, task: str, model: str, reason: str, permanent: bool) -> None:
    """Write down why the task failed; what was found earlier stays done."""
    _settle(db, asset, task, model, "failed", reason, permanent)


def _settle(
    db: sqlite3.Connection, asset: int, task: str, model: str, state: str, reason: str | None, permanent: bool
) -> None:
    failed = state == "failed"
    db.execute(
        "INSERT INTO work (asset, task, model, state, reason, permanent, attempts, changed)"
        " VALUES (:asset, :task, :model, :state, :reason, :permanent, :failed, :now)"
        " ON CONFLICT (asset, task, model) DO UPDATE SET state = :state, reason = :reason,"
        "  permanent = :permanent, attempts = CASE WHEN :failed THEN attempts + 1 ELSE 0 END,"
        "  job = NULL, changed = :now WHERE NOT (:failed AND state = 'done')",
        {"asset": asset, "task": task, "model": model, "state": state, "reason": reason and storable(reason)}
        | {"permanent": permanent, "failed": failed, "now": time.time()},
    )


def give_up(db: sqlite3.Connection, job: str, reason: str) -> None:
    """What is wanted of `job` will not be done by it."""
    db.execute(
        "UPDATE work SET state = 'failed', reason = ?, attempts = attempts + 1, job = NULL, changed = ?"
        " WHERE job = ? AND state = 'wanted'",
        (storable(reason), time.time(), job),
    )


def drop_unfinished(db: sqlite3.Connection, asset: int, task: str, models: Sequence[str]) -> None:
    """Take what is wanted or failed with other models than these out of the ledger: nobody will do it."""
    db.execute(
        "DELETE FROM work WHERE asset = ? AND task = ? AND state IN ('wanted', 'failed')"
        f" AND model NOT IN ({','.join('?' * len(models))})",
        (asset, task, *models),
    )


def has(db: sqlite3.Connection, asset: int, task: str) -> bool:
    """Whether the task was ever asked for on this asset, with any model."""
    row = db.execute("SELECT 1 FROM work WHERE asset = ? AND task = ? LIMIT 1", (asset, task)).fetchone()
    return row is not None


def remember_live(db: sqlite3.Connection, live: Iterable[str]) -> None:
    """Keep the ids of the jobs now in the queues in a temporary table, for `lacking`."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS live_jobs (job TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute("DELETE FROM live_jobs")
    db.executemany("INSERT OR IGNORE INTO live_jobs VALUES (?)", ((job,) for job in live))


def lacking(
    db: sqlite3.Connection, scope: Scope, models: dict[str, str], texts: dict[str, str]
) -> list[Candidate]:
    """Prepared files in `scope` that lack one of the tasks (`models`: task → model).

    `texts` (source → model) are those by which the text of files that have some is to be embedded.

    A task lacks when the ledger has no row for it, when it failed and may be tried again, or when
    it is wanted and its job is not in the queues any more (see `remember_live`).
    """
    condition, parameters = scope.where()
    missing = []
    for task, model in models.items():
        missing.append(
            "NOT EXISTS (SELECT 1 FROM work w WHERE w.asset = l.asset AND w.task = ? AND w.model = ?"
            f" AND ({SETTLED} OR (w.state = 'wanted' AND w.job IN live_jobs)))"
        )
        parameters += [task, model]
    for source, model in texts.items():
        missing.append(
            "(EXISTS (SELECT 1 FROM passages p WHERE p.asset = l.asset AND p.source = ?)"
            " AND NOT EXISTS (SELECT 1 FROM work w WHERE w.asset = l.asset AND w.task = 'embed'"
            f" AND w.model = ? AND ({SETTLED} OR (w.state = 'wanted' AND w.job IN live_jobs))))"
        )
        parameters += [source, model]
    marks = ",".join("?" * len(models))
    missing.append(
        f"EXISTS (SELECT 1 FROM work w WHERE w.asset = l.asset AND w.task IN ({marks})"
        " AND w.state = 'wanted' AND w.job NOT IN live_jobs)"
    )
    parameters += list(models)
    rows = db.execute(
        "SELECT l.folder, l.name, l.size, l.mtime_ns, l.changed FROM locations l"
        f" WHERE {condition} AND l.state = 'done' AND l.gone IS NULL AND ({' OR '.join(missing)})",
        parameters,
    )
    return [Candidate(*row) for row in rows]


def open_tasks(db: sqlite3.Connection, scope: Scope) -> dict[str, int]:
    """How much is still to be done in `scope`, by queue: `prepare` in files, tasks in assets."""
    condition, parameters = scope.where()
    counts: dict[str, int] = {}
    queued = db.execute(
        f"SELECT COUNT(*) FROM locations l WHERE l.state = 'queued' AND l.gone IS NULL AND {condition}",
        parameters,
    ).fetchone()[0]
    if queued:
        counts["prepare"] = queued
    rows = db.execute(
        "SELECT w.task, COUNT(*) FROM work w WHERE w.state = 'wanted' AND EXISTS"
        f" (SELECT 1 FROM locations l WHERE l.asset = w.asset AND l.gone IS NULL AND {condition})"
        " GROUP BY w.task",
        parameters,
    )
    return counts | {row[0]: row[1] for row in rows}


def tally(db: sqlite3.Connection, scope: Scope) -> dict[str, int]:
    """Files in `scope` that are done, failed (themselves or in any task) or still open."""
    condition, parameters = scope.where()
    row = db.execute(
        "SELECT COUNT(*), COALESCE(SUM(state = 'failed'), 0),"
        " COALESCE(SUM(state != 'failed' AND open), 0) FROM ("
        " SELECT CASE WHEN l.state = 'failed' OR l.asset IN (SELECT asset FROM work WHERE state = 'failed')"
        "             THEN 'failed' ELSE l.state END AS state,"
        "  l.state = 'queued' OR l.asset IN (SELECT asset FROM work WHERE state = 'wanted') AS open"
        f" FROM locations l WHERE l.gone IS NULL AND {condition})",
        parameters,
    ).fetchone()
    return {"files": row[0], "failed": row[1], "open": row[2], "done": row[0] - row[1] - row[2]}


def forget_text(db: sqlite3.Connection, asset: int, source: str) -> None:
    """Take the embedding of the asset's text of `source` out of the ledger: the text has changed."""
    db.execute(
        "DELETE FROM work WHERE asset = ? AND task = 'embed' AND substr(model, ?) = ?",
        (asset, -len(source) - 1, f"/{source}"),
    )


def jobs(db: sqlite3.Connection) -> list[str]:
    """The ids of the jobs that the ledger has wanted work in."""
    return [row[0] for row in db.execute("SELECT DISTINCT job FROM work WHERE state = 'wanted'")]


def settled_since(db: sqlite3.Connection, since: float) -> dict[str, int]:
    """How many pieces of work were done or failed since a time, by task; files prepared as `prepare`."""
    counts = {
        "prepare": db.execute(
            "SELECT COUNT(*) FROM locations WHERE changed >= ? AND state != 'queued' AND gone IS NULL",
            (since,),
        ).fetchone()[0]
    }
    rows = db.execute(
        "SELECT task, COUNT(*) FROM work WHERE changed >= ? AND state IN ('done', 'failed') GROUP BY task",
        (since,),
    )
    return {queue: count for queue, count in [*counts.items(), *((row[0], row[1]) for row in rows)] if count}


def completeness(db: sqlite3.Connection) -> dict[str, object]:
    """Whether all that is wanted of everything known is done, and what is not: the proof of `status`."""
    queued, unprepared = db.execute(
        "SELECT COALESCE(SUM(state = 'queued'), 0), COALESCE(SUM(state = 'failed'), 0) FROM locations"
        " WHERE state != 'done' AND gone IS NULL"
    ).fetchone()
    wanted, failed = db.execute(
        "SELECT COALESCE(SUM(state = 'wanted'), 0), COALESCE(SUM(state = 'failed'), 0) FROM work w"
        f" WHERE state IN ('wanted', 'failed') AND {THERE}"
    ).fetchone()
    return {
        "complete": not (queued or wanted),
        "open": queued + wanted,
        "failed": unprepared + failed,
    }


def was_asked(db: sqlite3.Connection, asset: int, task: str, model: str) -> bool:
    """Whether this piece of work is one that the ledger has, and that applies to the asset."""
    row = db.execute(
        "SELECT 1 FROM work WHERE asset = ? AND task = ? AND model = ? AND state != 'skipped'",
        (asset, task, model),
    ).fetchone()
    return row is not None
