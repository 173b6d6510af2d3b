"""The state of the fleet as its ledger has it: boxes, money, and what is done and why. Asks no market."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from mediaflow.fleet import ledger
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.run import LOCK, held
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.spending import spending
from mediaflow.ops.lock import holder

# A controller that has not ticked for so long is stuck.
BEAT_SECONDS = 180.0


def fleet_state(db: sqlite3.Connection, fleet: FleetSettings, now: float | None = None) -> dict[str, Any]:
    """The state in the form that `mediaflow status --json` prints under `fleet`."""
    now = time.time() if now is None else now
    pid = holder(LOCK)
    spent = spending(db, now)
    boxes = [box_state(box, now) for box in ledger.boxes(db)]
    return {
        "enabled": fleet.enabled,
        "name": fleet.name,
        "controller": pid,
        "boxes": boxes,
        "spend_today": round(spent.day, 4),
        "spend_month": round(spent.month, 4),
        "cap_today": fleet.caps.per_day,
        "cap_month": fleet.caps.per_month,
        "credit": ledger.fact(db, "credit"),
        "hold": held(db),
        "why": _why(db, fleet, pid, len(boxes)),
        "trouble": _trouble(db, pid, now),
        "fallback": _fallback(db, fleet, pid),
    }


def left_alone() -> str:
    """What to tell a person of boxes that no controller watches; empty where there are none."""
    if not ledger.ledger_path().exists() or holder(LOCK) is not None:
        return ""
    try:
        with closing(ledger.open_ledger()) as db:
            left = [box.label for box in ledger.boxes(db)]
    except sqlite3.Error as error:
        return f"boxes may still cost money, for the ledger cannot be read ({error}): mediaflow fleet down"
    what = "box" if len(left) == 1 else "boxes"
    return f"{what} {', '.join(left)} may still cost money: mediaflow fleet down" if left else ""


def box_state(box: Box, now: float) -> dict[str, Any]:
    """A box in the form the command line prints; its credential is not part of it."""
    return {
        "box": box.label,
        "state": box.state,
        "gpu": box.gpu,
        "region": box.region,
        "host": box.host,
        "contract": box.contract,
        "price": box.price,
        "since": box.intended,
        "lease": box.lease,
        "seconds": round((box.ended or now) - box.intended, 1),
        "in_hand": box.in_hand,
        "done": box.done,
        "heard": box.seen,
        "trouble": box.trouble or box.reason or "",
    }


def _why(db: sqlite3.Connection, fleet: FleetSettings, pid: int | None, boxes: int) -> str:
    if pid is not None:
        return str(ledger.fact(db, "why") or "The controller has just begun.")
    if boxes:
        what = "1 box is rented and no controller watches it"
        what = what if boxes == 1 else f"{boxes} boxes are rented and no controller watches them"
        why = f"{what}: {'mediaflow up, or ' if fleet.enabled else ''}mediaflow fleet down."
    elif not fleet.enabled:
        why = "Nothing is rented: the fleet is not enabled (configs/fleet.yaml)."
    else:
        why = "Nothing is rented: no controller runs (mediaflow up, or mediaflow fleet run)."
    hold = held(db)
    return f"{why} And {until_resumed(hold)}." if hold else why


def until_resumed(hold: str) -> str:
    """That nothing is rented for this hold, as a part of a sentence."""
    return f"`mediaflow fleet {hold}` was asked for: nothing is rented until `mediaflow fleet resume`"


def _trouble(db: sqlite3.Connection, pid: int | None, now: float) -> str:
    if pid is None:
        return ""
    beat = ledger.fact(db, "beat")
    if isinstance(beat, int | float) and now - beat > BEAT_SECONDS:
        return f"The controller (pid {pid}) has done nothing for {now - beat:.0f} s."
    return str(ledger.fact(db, "trouble") or "")


def _fallback(db: sqlite3.Connection, fleet: FleetSettings, pid: int | None) -> str:
    """What becomes of work that may leave while no box has it; empty while boxes work, or nothing waits."""
    if pid is None:
        waits = fleet.enabled and fleet.fallback.work == "wait"
        return f"Work waits until {fleet.fallback.until}; then this machine does it." if waits else ""
    match ledger.fact(db, "fallback"):
        case "here":
            return "This machine does the work by itself."
        case "waits":
            resumes = ledger.fact(db, "resumes")
            until = (
                datetime.fromtimestamp(float(resumes), UTC).astimezone().strftime("%H:%M")
                if resumes
                else "a set time"
            )
            return f"Work waits for boxes until {until}; then this machine does it."
    return ""
