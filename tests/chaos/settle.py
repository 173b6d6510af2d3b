"""Coming to rest: nothing is injected any more, and the system has to end what is open by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from tests.chaos.pile import Pile
from tests.chaos.processes import send
from tests.chaos.system import Answer, System, complaint

PATIENCE = 240.0
QUIET = 4.0
# Files, and pieces of work on files that are there, that are open or will be tried again by itself.
OPEN = """
    SELECT 'prepare ' || state || ' ' || COALESCE(reason, ''), CAST(folder || '/' || name AS TEXT), attempts
      FROM locations WHERE gone IS NULL AND (state = 'queued' OR (state = 'failed' AND {due}))
    UNION ALL
    SELECT w.task || ' ' || w.model || ' ' || w.state || ' ' || COALESCE(w.reason, ''), a.hash, w.attempts
      FROM work w JOIN assets a ON a.id = w.asset WHERE (w.state = 'wanted' OR (w.state = 'failed' AND {due}))
       AND EXISTS (SELECT 1 FROM locations l WHERE l.asset = w.asset AND l.gone IS NULL)
"""
DUE = "NOT permanent AND due IS NOT NULL"


@dataclass(slots=True)
class Rest:
    """How it came to rest: in how many seconds, and what was wrong on the way."""

    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def settle(system: System, pile: Pile) -> Rest:
    """Take back every fault, submit the folder once, and wait until the system has nothing more to do."""
    restore(system)
    rest, began = Rest(), time.monotonic()
    last = _submit_once_up(system, pile, began + PATIENCE)
    if wrong := complaint(last, (0, 1)):
        rest.problems.append(f"the last submit --wait: {wrong}: {last.error.strip()[-600:]}")
    quiet_since, lines = time.monotonic(), -1
    while True:
        now, count, rows = time.monotonic(), len(system.account().lines), _open(system)
        if rows or count != lines:
            quiet_since, lines = now, count
        if now - quiet_since > QUIET:
            break
        if now - began > PATIENCE:
            rest.problems += [f"stuck: {row[0]} ({row[2]} attempts): {row[1]!r}" for row in rows]
            if not rows:
                rest.problems.append("nothing is open, and yet analyses go on and on")
            break
        time.sleep(0.5)
    rest.seconds = quiet_since - began
    return rest


def restore(system: System) -> None:
    """Take back whatever a fault may have left: all but what was stopped for good. The clock is set right."""
    system.clock.set(0)
    (system.home / "ballast").unlink(missing_ok=True)
    for process in system.processes():
        send(process.pid, signal.SIGCONT)
    if system.server:
        system.server.proxy.flow()
    with contextlib.suppress(RedisError, OSError, ValueError), system.client() as client:
        client.config_set("maxmemory", 0)
        client.execute_command("REPLICAOF", "NO", "ONE")
    system.go_on()


def _submit_once_up(system: System, pile: Pile, deadline: float) -> Answer:
    """The answer of the one submit that is allowed; it is not given before `up` is up again."""
    while not (system.home / "run" / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return system.run("submit", str(pile.root), "--wait", "--json")


def _open(system: System) -> list[Any]:
    with closing(ask(system)) as db:
        return db.execute(OPEN.format(due=DUE)).fetchall()


def ask(system: System) -> sqlite3.Connection:
    """The catalog, to be read."""
    db = sqlite3.connect(system.home / "catalog.sqlite", timeout=60)
    db.row_factory = sqlite3.Row
    db.text_factory = os.fsdecode
    return db
