"""The ledger: whether what it says is done was found, and what was found belongs to something."""

from __future__ import annotations

import sqlite3

from mediaflow.catalog import assets
from mediaflow.catalog.database import transaction
from mediaflow.media import cache
from mediaflow.ops.doctor.report import Examination, count

# The embedding of text that was read or heard has vectors, and no finding of its own.
_TEXT = "(w.task = 'embed' AND (w.model LIKE '%/ocr' OR w.model LIKE '%/speech'))"
_FOUND = "(SELECT 1 FROM findings f WHERE f.asset = w.asset AND f.task = w.task AND f.model = w.model)"
_EMBEDDED = (
    "(SELECT 1 FROM vectors v WHERE v.asset = w.asset"
    " AND v.source = CASE WHEN w.model LIKE '%/ocr' THEN 'ocr' ELSE 'speech' END)"
)
_SAID = (
    "(SELECT 1 FROM passages p WHERE p.asset = w.asset"
    " AND p.source = CASE WHEN w.model LIKE '%/ocr' THEN 'ocr' ELSE 'speech' END)"
)
DONE_WITHOUT = (
    f"FROM work w WHERE w.state = 'done' AND ((NOT {_TEXT} AND NOT EXISTS {_FOUND})"
    f" OR ({_TEXT} AND EXISTS {_SAID} AND NOT EXISTS {_EMBEDDED}))"
)
FOUND_WITHOUT = (
    "FROM findings f WHERE NOT EXISTS (SELECT 1 FROM work w WHERE w.asset = f.asset AND w.task = f.task"
    " AND w.model = f.model AND (w.state = 'done' OR w.box IS NOT NULL))"
)
ALONE = {
    "passages": "FROM passages AS x WHERE NOT EXISTS (SELECT 1 FROM findings f WHERE f.asset = x.asset"
    " AND f.task = CASE x.source WHEN 'ocr' THEN 'ocr' ELSE 'transcribe' END)",
    "vectors": "FROM vectors AS x WHERE (x.source = 'picture'"
    " AND NOT EXISTS (SELECT 1 FROM findings f WHERE f.asset = x.asset))"
    " OR (x.source != 'picture' AND NOT EXISTS (SELECT 1 FROM passages p WHERE p.asset = x.asset"
    " AND p.source = x.source AND p.ordinal = x.ordinal))",
}
# While files wait to be read anew, the asset that they held may turn out to be theirs again.
UNHELD = (
    "FROM assets a WHERE NOT EXISTS (SELECT 1 FROM locations l WHERE l.asset = a.id)"
    " AND NOT EXISTS (SELECT 1 FROM locations l WHERE l.asset IS NULL AND l.gone IS NULL AND NOT l.permanent)"
)


def examine(visit: Examination, db: sqlite3.Connection) -> None:
    """Look for contradictions between the ledger, what was found, and what it was found of."""
    with visit.part("ledger"):
        for table, condition in ALONE.items():
            what = count(_number(db, condition), table[:-1])
            _mend(visit, db, condition, f"{what} of nothing that was found", "removed", f"DELETE {condition}")
        _mend(
            visit,
            db,
            FOUND_WITHOUT,
            f"{count(_number(db, FOUND_WITHOUT), 'finding')} not written down as done",
            "written down",
            "INSERT INTO work (asset, task, model, state, changed) SELECT f.asset, f.task, f.model, 'done',"
            f" f.created {FOUND_WITHOUT} ON CONFLICT (asset, task, model) DO UPDATE SET state = 'done',"
            " reason = NULL, permanent = 0, attempts = 0, job = NULL, due = NULL",
        )
        _mend(
            visit,
            db,
            DONE_WITHOUT,
            f"{count(_number(db, DONE_WITHOUT), 'piece', 'pieces')} of work done, but nothing found",
            "wanted again",
            # A job that is in no queue is a lost one, and is found lost below or by the next submit.
            "UPDATE work SET state = 'wanted', job = 'none', box = NULL WHERE (asset, task, model) IN"
            f" (SELECT w.asset, w.task, w.model {DONE_WITHOUT})",
        )
        _check_tasks(visit, db)
        _check_assets(visit, db)
    done = db.execute("SELECT COUNT(*) FROM work WHERE state = 'done'").fetchone()[0]
    visit.ok("ledger", f"{count(done, 'task')} done, each has its result")


def _check_tasks(visit: Examination, db: sqlite3.Connection) -> None:
    if visit.settings is None:
        return
    marks = ",".join("?" * len(visit.settings.tasks))
    condition = f"FROM work WHERE state IN ('wanted', 'failed') AND task NOT IN ({marks})"
    number = db.execute(f"SELECT COUNT(*) {condition}", list(visit.settings.tasks)).fetchone()[0]
    _mend(
        visit,
        db,
        condition,
        f"{count(number, 'piece', 'pieces')} of work for tasks that the settings do not know",
        "not wanted any more",
        f"DELETE {condition}",
        list(visit.settings.tasks),
    )


def _check_assets(visit: Examination, db: sqlite3.Connection) -> None:
    hashes: list[str] = []

    def repair() -> None:
        with transaction(db):
            for id, hash in db.execute(f"SELECT id, hash {UNHELD}").fetchall():
                assets.forget(db, id)
                hashes.append(hash)
        for hash in hashes:
            cache.remove(hash, thumbnail=True)

    if number := _number(db, UNHELD):
        visit.mend("ledger", f"{count(number, 'asset')} that no file holds any more", "forgotten", repair)


def _number(db: sqlite3.Connection, condition: str) -> int:
    return int(db.execute(f"SELECT COUNT(*) {condition}").fetchone()[0])


def _mend(
    visit: Examination,
    db: sqlite3.Connection,
    condition: str,
    what: str,
    done: str,
    statement: str,
    parameters: list[str] | None = None,
) -> None:
    def repair() -> None:
        with transaction(db):
            db.execute(statement, parameters or [])

    if db.execute(f"SELECT EXISTS (SELECT 1 {condition})", parameters or []).fetchone()[0]:
        visit.mend("ledger", what, done, repair)
