"""The clock: where it was set back, the times of what still costs money are moved with it."""

from __future__ import annotations

import sqlite3

from mediaflow.fleet import ledger


def set_back(db: sqlite3.Connection, seconds: float, now: float) -> None:
    """Bring the ledger's boxes into the new time, `seconds` before the old one: ages and leases stay.

    What the gateway wrote since, by the new clock already, is left.
    """
    with ledger.transaction(db):
        db.execute(
            "UPDATE boxes SET intended = intended - :by, running = running - :by, ended = ended - :by,"
            " lease = lease - :by, expires = expires - :by,"
            " hello = CASE WHEN hello > :now THEN hello - :by ELSE hello END,"
            " seen = CASE WHEN seen > :now THEN seen - :by ELSE seen END,"
            " ready = CASE WHEN ready > :now THEN ready - :by ELSE ready END,"
            " worked = CASE WHEN worked > :now THEN worked - :by ELSE worked END"
            " WHERE state != 'ended' OR ended > :now",
            {"by": seconds, "now": now},
        )
        for (label,) in db.execute("SELECT label FROM boxes WHERE state = 'draining'").fetchall():
            since = float((ledger.fact(db, f"drain {label}") or {}).get("since", now))
            ledger.put_fact(db, f"drain {label}", {"since": min(since - seconds, now)}, now)
        ledger.event(db, now, f"the clock was set back by {seconds:.0f} s")
