"""The ledger: for every (asset, task, model), whether it is wanted, done, failed or does not apply."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Container, Sequence

from mediaflow.catalog import retries
from mediaflow.catalog.database import storable
from mediaflow.catalog.locations import Candidate, Scope

# A row that asks for nothing more by itself.
SETTLED = "(w.state IN ('done', 'skipped') OR (w.state = 'failed' AND w.due IS NULL))"
# Work on an asset without a readable location is not waited for: it is gone, or listed as failed.
THERE = (
    "EXISTS (SELECT 1 FROM locations l WHERE l.asset = w.asset AND l.gone IS NULL AND l.state != 'failed')"
)


def want(
    db: sqlite3.Connection, asset: int, task: str, model: str, job: str, live: Container[str] = ()
) -> bool:
    """Record this work item for `job`; False when it is done, failed for good, or in a live job."""
    row = db.execute(
        f"SELECT {SETTLED}, w.state, w.job FROM work w WHERE asset = ? AND task = ? AND model = ?",
        (asset, task, model),
    ).fetchone()
    if row and (row[0] or (row[1] == "wanted" and row[2] in live)):
        return False
    db.execute(
        "INSERT INTO work (asset, task, model, state, job, changed) VALUES (?, ?, ?, 'wanted', ?, ?)"
        " ON CONFLICT (asset, task, model) DO UPDATE SET state = 'wanted', job = excluded.job,"
        "  due = NULL, changed = excluded.changed",
        (asset, task, model, job, time.time()),
    )
    return True


def skip(db: sqlite3.Connection, asset: int, task: str, model: str) -> None:
    """Record that the task does not apply to this asset."""
    _settle(db, asset, task, model, "skipped")


def finish(db: sqlite3.Connection, asset: int, task: str, model: str, box: str | None = None) -> None:
    """Record that the findings are in the catalog, and the box that computed them."""
    _settle(db, asset, task, model, "done", box=box)


def reopen(db: sqlite3.Connection, asset: int, task: str, model: str) -> None:
    """Want a work item again that is done or in work, without a job. A finding of a box is to be checked."""
    db.execute(
        "UPDATE work SET state = 'wanted', job = 'none', changed = ?"
        " WHERE asset = ? AND task = ? AND model = ?",
        (time.time(), asset, task, model),
    )


def fail(
    db: sqlite3.Connection,
    asset: int,
    task: str,
    model: str,
    reason: str,
    permanent: bool,
    blameless: bool = False,
) -> None:
    """Record why the task failed; earlier findings stay. `retries.due` decides on retries."""
    row = db.execute(
        "SELECT attempts, state, box FROM work WHERE asset = ? AND task = ? AND model = ?",
        (asset, task, model),
    ).fetchone()
    if row and row[1] == "failed":
        return  # written down before
    if row and row[2] is not None:
        # It was to be checked: the box's finding stays, and counts neither for nor against the box.
        finish(db, asset, task, model, row[2])
        return
    attempts = row[0] + 1 if row else 1
    due = retries.due(attempts, permanent=permanent, blameless=blameless)
    _settle(db, asset, task, model, "failed", storable(reason), permanent, attempts, due)


def _settle(
    db: sqlite3.Connection,
    asset: int,
    task: str,
    model: str,
    state: str,
    reason: str | None = None,
    permanent: bool = False,
    attempts: int = 0,
    due: float | None = None,
    box: str | None = None,
) -> None:
    db.execute(
        "INSERT INTO work (asset, task, model, state, reason, permanent, attempts, due, box, changed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (asset, task, model) DO UPDATE SET state = excluded.state, reason = excluded.reason,"
        "  permanent = excluded.permanent, attempts = excluded.attempts, due = excluded.due, job = NULL,"
        "  box = excluded.box, dismissed = 0, changed = excluded.changed "
        " WHERE NOT (excluded.state = 'failed' AND work.state IN ('done', 'skipped'))",
        (asset, task, model, state, reason, permanent, attempts, due, box, time.time()),
    )


def give_up(db: sqlite3.Connection, job: str, reason: str) -> None:
    """Fail the work items that are wanted of `job`."""
    for row in db.execute(
        "SELECT asset, task, model FROM work WHERE job = ? AND state = 'wanted'", (job,)
    ).fetchall():
        fail(db, row[0], row[1], row[2], reason, permanent=False)


def drop_unfinished(db: sqlite3.Connection, asset: int, task: str, models: Sequence[str]) -> None:
    """Remove work items of other models than these that are wanted or failed: no worker will do them."""
    others = f"asset = ? AND task = ? AND model NOT IN ({','.join('?' * len(models))})"
    db.execute(
        f"UPDATE work SET state = 'done', job = NULL WHERE {others} AND state = 'wanted' AND box IS NOT NULL",
        (asset, task, *models),
    )
    db.execute(f"DELETE FROM work WHERE {others} AND state IN ('wanted', 'failed')", (asset, task, *models))


def jobs(db: sqlite3.Connection) -> set[str]:
    """The jobs that the ledger waits for."""
    rows = db.execute(
        # As in the conditions of the partial indexes, or SQLite reads the whole tables.
        "SELECT job FROM work WHERE state = 'wanted' AND state IN ('wanted', 'failed')"
        " UNION SELECT job FROM locations WHERE state = 'queued' AND state != 'done'"
    )
    return {row[0] for row in rows}


def has(db: sqlite3.Connection, asset: int, task: str) -> bool:
    """Whether the task was ever asked for on this asset, with any model."""
    row = db.execute("SELECT 1 FROM work WHERE asset = ? AND task = ? LIMIT 1", (asset, task)).fetchone()
    return row is not None


def lacking(
    db: sqlite3.Connection,
    scope: Scope,
    models: dict[str, str],
    texts: dict[str, str],
    awaits: Callable[[str], bool],
) -> list[Candidate]:
    """Prepared files in `scope` that lack one of the tasks (`models`: task → model).

    `texts` (source → model) are those by which the text of files that have some is to be embedded.

    A task lacks when the ledger has no row for it, when it failed and may be tried again, or when
    it is wanted and its job is lost: `awaits` says of a job whether it is still to be waited for.
    """
    db.create_function("awaits", 1, awaits)
    condition, parameters = scope.where()
    missing = []
    for task, model in models.items():
        missing.append(
            "NOT EXISTS (SELECT 1 FROM work w WHERE w.asset = l.asset AND w.task = ? AND w.model = ?"
            f" AND ({SETTLED} OR (w.state = 'wanted' AND awaits(w.job))))"
        )
        parameters += [task, model]
    for source, model in texts.items():
        missing.append(
            "(EXISTS (SELECT 1 FROM passages p WHERE p.asset = l.asset AND p.source = ?)"
            " AND NOT EXISTS (SELECT 1 FROM work w WHERE w.asset = l.asset AND w.task = 'embed'"
            f" AND w.model = ? AND ({SETTLED} OR (w.state = 'wanted' AND awaits(w.job)))))"
        )
        parameters += [source, model]
    marks = ",".join("?" * len(models))
    missing.append(
        f"EXISTS (SELECT 1 FROM work w WHERE w.asset = l.asset AND w.task IN ({marks})"
        " AND w.state = 'wanted' AND NOT awaits(w.job))"
    )
    parameters += list(models)
    rows = db.execute(
        "SELECT l.folder, l.name, l.size, l.mtime_ns, l.changed, l.root FROM locations l"
        f" WHERE {condition} AND l.state = 'done' AND l.gone IS NULL AND ({' OR '.join(missing)})",
        parameters,
    )
    return [Candidate(*row) for row in rows]


def open_tasks(db: sqlite3.Connection, scope: Scope) -> dict[str, int]:
    """How much is still to be done in `scope`, by queue: `prepare` in files, tasks in assets.

    What failed and is tried again soon is open too.
    """
    condition, parameters = scope.where()
    soon = time.time() + retries.WAITED_FOR_SECONDS
    counts: dict[str, int] = {}
    queued = db.execute(
        "SELECT COUNT(*) FROM locations l WHERE (l.state = 'queued' OR (l.state = 'failed' AND l.due < ?))"
        f" AND l.gone IS NULL AND {condition}",
        [soon, *parameters],
    ).fetchone()[0]
    if queued:
        counts["prepare"] = queued
    rows = db.execute(
        "SELECT w.task, COUNT(*) FROM work w WHERE w.state IN ('wanted', 'failed')"
        " AND (w.state = 'wanted' OR w.due < ?) AND EXISTS"
        " (SELECT 1 FROM locations l WHERE l.asset = w.asset AND l.gone IS NULL AND l.state != 'failed'"
        f" AND {condition}) GROUP BY w.task",
        [soon, *parameters],
    )
    return counts | {row[0]: row[1] for row in rows}


def tally(db: sqlite3.Connection, scope: Scope) -> dict[str, int]:
    """Files in `scope` that are done, failed (themselves or in any task) or still open.

    Dismissed failures of tasks do not count; a file whose failure to be prepared was dismissed is neither
    done nor failed.
    """
    condition, parameters = scope.where()
    row = db.execute(
        "SELECT COALESCE(SUM(state != 'dismissed'), 0), COALESCE(SUM(state = 'failed'), 0),"
        " COALESCE(SUM(state != 'failed' AND open), 0) FROM ("
        " SELECT CASE WHEN l.state = 'failed' AND l.dismissed THEN 'dismissed'"
        "  WHEN l.state = 'failed' OR l.asset IN"
        "       (SELECT asset FROM work WHERE state = 'failed' AND NOT dismissed) THEN 'failed'"
        "  ELSE l.state END AS state,"
        "  l.state = 'queued' OR l.asset IN (SELECT asset FROM work WHERE state = 'wanted') AS open"
        f" FROM locations l WHERE l.gone IS NULL AND l.state != 'skipped' AND {condition})",
        parameters,
    ).fetchone()
    return {"files": row[0], "failed": row[1], "open": row[2], "done": row[0] - row[1] - row[2]}


def forget_text(db: sqlite3.Connection, asset: int, source: str) -> None:
    """Take the embedding of the asset's text of `source` out of the ledger: the text has changed."""
    db.execute(
        "DELETE FROM work WHERE asset = ? AND task = 'embed' AND substr(model, ?) = ?",
        (asset, -len(source) - 1, f"/{source}"),
    )


def settled_since(db: sqlite3.Connection, since: float) -> dict[str, int]:
    """How many work items were done or failed since a time, by task; prepared files as `prepare`."""
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
    """Whether all wanted work is done, with the numbers of open and failed items, for `status`."""
    soon = time.time() + retries.WAITED_FOR_SECONDS
    is_open = "COALESCE(SUM(state != 'failed' OR COALESCE(due < ?, 0)), 0)"
    queued, unprepared = db.execute(
        f"SELECT {is_open}, COUNT(*) FROM locations"
        " WHERE state NOT IN ('done', 'skipped') AND gone IS NULL AND NOT dismissed",
        (soon,),
    ).fetchone()
    wanted, unfinished = db.execute(
        f"SELECT {is_open}, COUNT(*) FROM work w"
        f" WHERE state IN ('wanted', 'failed') AND NOT dismissed AND {THERE}",
        (soon,),
    ).fetchone()
    return {
        "complete": not (queued or wanted),
        "open": queued + wanted,
        "failed": unprepared + unfinished - queued - wanted,
    }


def was_asked(db: sqlite3.Connection, asset: int, task: str, model: str) -> bool:
    """Whether the ledger has this work item, and the task applies to the asset."""
    row = db.execute(
        "SELECT 1 FROM work WHERE asset = ? AND task = ? AND model = ? AND state != 'skipped'",
        (asset, task, model),
    ).fetchone()
    return row is not None
