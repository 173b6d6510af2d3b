"""Hosts that were bad: what fails is left alone for a while, for longer each time."""

from __future__ import annotations

import sqlite3

HOUR = 3600.0
FIRST_HOURS = 2.0
LONGEST_HOURS = 24.0 * 14
# After so long without a strike the earlier ones are forgotten.
FORGIVEN_HOURS = 24.0 * 30


def strike(db: sqlite3.Connection, machine: int, host: int, reason: str, now: float) -> float:
    """Leave a machine alone after it failed, for longer each time; until when."""
    row = db.execute("SELECT strikes, until FROM blocks WHERE machine = ?", (machine,)).fetchone()
    strikes = 1 if row is None or now > row[1] + FORGIVEN_HOURS * HOUR else row[0] + 1
    until = now + min(FIRST_HOURS * 4 ** (strikes - 1), LONGEST_HOURS) * HOUR
    db.execute(
        "INSERT INTO blocks VALUES (?, ?, ?, ?, ?) ON CONFLICT (machine) DO UPDATE SET host = excluded.host,"
        " strikes = excluded.strikes, until = MAX(until, excluded.until), reason = excluded.reason",
        (machine, host, strikes, until, reason),
    )
    return until


def blocked(db: sqlite3.Connection, now: float) -> tuple[set[int], set[int]]:
    """The machines that are left alone now, and the hosts: those with two such machines, or two strikes."""
    machines: set[int] = set()
    strikes: dict[int, int] = {}
    for machine, host, count in db.execute(
        "SELECT machine, host, strikes FROM blocks WHERE until > ?", (now,)
    ):
        machines.add(machine)
        strikes[host] = strikes.get(host, 0) + count
    return machines, {host for host, count in strikes.items() if count >= 2}
