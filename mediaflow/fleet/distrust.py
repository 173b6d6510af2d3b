"""Distrust: which findings of boxes are computed here too, and what becomes of a box that lies.

What is found out is written into the catalog together with what follows from it, in one transaction. The
fleet's ledger is another file and is told afterwards: again and again until it knows.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from contextlib import closing

from mediaflow.catalog import provenance
from mediaflow.catalog.database import transaction
from mediaflow.errors import StorageError
from mediaflow.fleet import ledger
from mediaflow.fleet.settings import load_fleet

# So many of what a box finds first with each task are checked, and so many more for each difference.
FIRST = 3
# Differences that may be honest (files at the border of two answers) become a lie when there are so many, and
# they are more than this share of all that was checked.
LEAST_DIFFERENT = 3
MOST_DIFFERENT = 1 / 3
BLOCK_SECONDS = 365 * 24 * 3600.0
REASON = "its findings are not true"


def choose(db: sqlite3.Connection, box: str, task: str) -> bool:
    """Whether a finding of a box is to be computed here too: by chance. Counts what it chooses."""
    so_far = provenance.checks(db, box, task)
    # Where this machine cannot do it at all, it does not try for ever.
    due = so_far.chosen - min(so_far.failed, FIRST) < FIRST * (1 + so_far.differed)
    if due or secrets.SystemRandom().random() < load_fleet().check:
        provenance.count_check(db, box, task, "chosen")
        return True
    return False


def differed(db: sqlite3.Connection, box: str, task: str, said: str, *, gross: bool) -> bool:
    """A finding of a box is not what was found here; True where that is the end of the box.

    Then all that it found is taken out of the catalog and wanted again, in the transaction of the caller.
    """
    provenance.count_check(db, box, task, "differed")
    so_far = provenance.checks(db, box, task)
    often = so_far.differed >= LEAST_DIFFERENT
    share = so_far.differed / (so_far.agreed + so_far.differed)
    if not (gross or (often and share > MOST_DIFFERENT)):
        return False
    provenance.undo(db, box, f"{REASON}: {task}: {said}")
    return True


def tell(db: sqlite3.Connection) -> None:
    """Have the fleet's ledger end the boxes that lied and block their machines; may be done again.

    Raises StorageError where the ledger cannot be written.
    """
    for label, reason in provenance.untold(db):
        try:
            with closing(ledger.open_ledger()) as fleet, ledger.transaction(fleet):
                _end(fleet, label, reason)
        except sqlite3.Error as error:
            raise StorageError(
                f"The fleet's ledger {ledger.ledger_path()} cannot be written: {error}."
            ) from error
        with transaction(db):
            provenance.told(db, label)


def _end(fleet: sqlite3.Connection, label: str, reason: str) -> None:
    box, now = ledger.box(fleet, label), time.time()
    if box is None or (box.reason or "").startswith(REASON):
        return  # told before
    ledger.update(fleet, label, reason=reason, state="ended" if box.state == "ended" else "ending")
    ledger.event(fleet, now, f"{reason}. All that it found is done again.", label)
    ledger.forget_measured(fleet, label)
    # Two strikes at once: the host's other machines are its owner's too.
    fleet.execute(
        "INSERT INTO blocks (machine, host, strikes, until, reason) VALUES (?, ?, 2, ?, ?)"
        " ON CONFLICT (machine) DO UPDATE SET strikes = strikes + 2, until = MAX(until, excluded.until),"
        "  reason = excluded.reason",
        (box.machine, box.host, now + BLOCK_SECONDS, reason),
    )
