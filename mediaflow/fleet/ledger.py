"""The fleet's ledger: every box from the wish for it to its end, what boxes manage, and which hosts are bad.

`fleet.sqlite` in MEDIAFLOW_HOME. The controller writes down a box before it orders it and what became of it;
the gateway writes what the box itself says. Times are Unix seconds, money US dollars.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from mediaflow.settings import home

# A box in one of these costs, or may cost, money.
OPEN = ("intended", "loading", "working", "draining", "ending")
SCHEMA = """
CREATE TABLE IF NOT EXISTS boxes (
    label TEXT PRIMARY KEY,
    -- intended: written down, and perhaps ordered; loading: ordered; working: it has said hello; draining: it
    -- gets no more work; ending: its end is wanted and not confirmed; ended: the market lists it no more.
    state TEXT NOT NULL CHECK (state IN ('intended', 'loading', 'working', 'draining', 'ending', 'ended')),
    token TEXT NOT NULL,             -- SHA-256 of the box's credential
    contract INTEGER,
    machine INTEGER NOT NULL,
    host INTEGER NOT NULL,
    gpu TEXT NOT NULL,
    region TEXT NOT NULL,
    price REAL NOT NULL,             -- an hour, disk included, while it runs
    storage REAL NOT NULL,           -- an hour, from the order on
    traffic REAL NOT NULL,           -- a GB in; what is sent out is little
    bid REAL,
    intended REAL NOT NULL,
    running REAL,                    -- since when it costs `price`
    hello REAL,
    ended REAL,
    reason TEXT,                     -- why its end is wanted
    lease REAL NOT NULL,             -- till when its credential is good, unless renewed; it ends itself then
    expires REAL NOT NULL,           -- past this it is never renewed
    charged REAL NOT NULL DEFAULT 0, -- what the market says it has cost
    -- What the gateway writes.
    seen REAL,
    hardware TEXT NOT NULL DEFAULT '{}',
    trouble TEXT NOT NULL DEFAULT '',
    ready REAL,                      -- since when it has its models
    in_hand INTEGER NOT NULL DEFAULT 0,
    heaviest REAL NOT NULL DEFAULT 0, -- the weight of the heaviest of those (jobs/weight.py)
    done INTEGER NOT NULL DEFAULT 0,
    worked REAL,                     -- when it last had a result
    busy REAL NOT NULL DEFAULT 0,    -- seconds that what it did took ...
    worth REAL NOT NULL DEFAULT 0,   -- ... and that work of that weight usually takes its GPU
    bytes INTEGER NOT NULL DEFAULT 0 -- of renditions and models that were sent to it
);
CREATE INDEX IF NOT EXISTS boxes_open ON boxes (state) WHERE state != 'ended';
-- Items and the seconds of one machine that they took; old measurements fade.
CREATE TABLE IF NOT EXISTS measurements (
    gpu TEXT NOT NULL,               -- 'here' is this machine
    task TEXT NOT NULL,
    box TEXT NOT NULL,
    items REAL NOT NULL,
    seconds REAL NOT NULL,
    weight REAL NOT NULL,            -- of the items
    changed REAL NOT NULL,
    PRIMARY KEY (gpu, task, box)
);
DROP TABLE IF EXISTS rates; -- of before: nobody knows which box its measurements were of
CREATE TABLE IF NOT EXISTS blocks (
    machine INTEGER PRIMARY KEY,
    host INTEGER NOT NULL,
    strikes INTEGER NOT NULL,
    until REAL NOT NULL,
    reason TEXT NOT NULL
);
-- Boxes that ended before they had a result: for want of work, or because they were no good.
CREATE TABLE IF NOT EXISTS fruitless (label TEXT PRIMARY KEY, at REAL NOT NULL, idle INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    label TEXT NOT NULL,             -- of the box; empty: of the fleet
    what TEXT NOT NULL
);
-- One value for each thing that the controller says of itself: trouble, beat, credit, …
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL, changed REAL NOT NULL);
"""
MOST_EVENTS = 5000
# Seconds of work after which an older measurement counts half.
FADE_SECONDS = 900.0
# A GPU is as fast as its last boxes: so many are looked at.
LAST_BOXES = 9


@dataclass(frozen=True, slots=True)
class Box:
    """One row of `boxes`; the meaning of each column is in the schema."""

    label: str
    state: str
    token: str
    contract: int | None
    machine: int
    host: int
    gpu: str
    region: str
    price: float
    storage: float
    traffic: float
    bid: float | None
    intended: float
    running: float | None
    hello: float | None
    ended: float | None
    reason: str | None
    lease: float
    expires: float
    charged: float
    seen: float | None
    hardware: dict[str, Any]
    trouble: str
    ready: float | None
    in_hand: int
    heaviest: float
    done: int
    worked: float | None
    busy: float
    worth: float
    bytes: int


def ledger_path() -> Path:
    """Where the fleet's ledger is."""
    return home() / "fleet.sqlite"


def open_ledger(path: Path | str | None = None) -> sqlite3.Connection:
    """Open the ledger, made when there is none; `:memory:` for one that nobody keeps."""
    path = path or ledger_path()
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA)
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def boxes(db: sqlite3.Connection, *, ended_since: float | None = None) -> list[Box]:
    """The boxes that are not ended, in the order of their wishes; also those ended since `ended_since`."""
    since = float("inf") if ended_since is None else ended_since
    rows = db.execute("SELECT * FROM boxes WHERE state != 'ended' OR ended >= ? ORDER BY intended", (since,))
    return [_box(row) for row in rows]


def box(db: sqlite3.Connection, label: str) -> Box | None:
    """The box of this label."""
    row = db.execute("SELECT * FROM boxes WHERE label = ?", (label,)).fetchone()
    return _box(row) if row else None


def box_of_token(db: sqlite3.Connection, token_hash: str, now: float) -> Box | None:
    """The box whose credential this is; None where it is unknown, over, or its lease has run out."""
    row = db.execute(
        "SELECT * FROM boxes WHERE token = ? AND state NOT IN ('ending', 'ended') AND lease > ?",
        (token_hash, now),
    ).fetchone()
    return _box(row) if row else None


def update(db: sqlite3.Connection, label: str, **columns: Any) -> None:
    """Change some columns of a box."""
    names = ", ".join(f"{name} = ?" for name in columns)
    db.execute(f"UPDATE boxes SET {names} WHERE label = ?", (*columns.values(), label))


def turn(db: sqlite3.Connection, label: str, state: str, reason: str, now: float) -> None:
    """Set a box's state, and why; what has come nearer to its end meanwhile stays there."""
    db.execute(
        "UPDATE boxes SET state = ?, reason = ? WHERE label = ? AND state NOT IN ('ending', 'ended')",
        (state, reason, label),
    )
    event(db, now, f"{state}: {reason}", label)


def insert(db: sqlite3.Connection, columns: Mapping[str, Any]) -> None:
    """Write down a new box."""
    marks = ", ".join("?" * len(columns))
    db.execute(f"INSERT INTO boxes ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values()))


def measured(
    db: sqlite3.Connection,
    gpu: str,
    task: str,
    items: float,
    seconds: float,
    now: float,
    box: str = "",
    weight: float = 0.0,
) -> None:
    """Add a measurement: `items` of a task, of this `weight` in all, took a `box` with this `gpu` so long."""
    fade = 0.5 ** (seconds / FADE_SECONDS)
    db.execute(
        "INSERT INTO measurements (gpu, task, box, items, seconds, weight, changed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (gpu, task, box) DO UPDATE SET items = items * ? + excluded.items,"
        "  seconds = seconds * ? + excluded.seconds, weight = weight * ? + excluded.weight,"
        "  changed = excluded.changed",
        (gpu, task, box, items, seconds, weight, now, fade, fade, fade),
    )


def measured_of_box(
    db: sqlite3.Connection, box: Box, task: str, items: float, weight: float, seconds: float, now: float
) -> None:
    """Add what a box did to what is measured of its GPU; and to its row, also how long that usually takes."""
    rows = db.execute(
        "SELECT seconds / weight, seconds FROM measurements"
        " WHERE gpu = ? AND task = ? AND box != ? AND weight > 0 ORDER BY changed DESC LIMIT ?",
        (box.gpu, task, box.label, LAST_BOXES),
    )
    others = [(pace, spent) for pace, spent in rows]
    worth = _median(others) * weight if others else seconds  # the first of its GPU is as fast as any
    db.execute(
        "UPDATE boxes SET busy = busy + ?, worth = worth + ? WHERE label = ?", (seconds, worth, box.label)
    )
    measured(db, box.gpu, task, items, seconds, now, box.label, weight)


def rates(db: sqlite3.Connection) -> dict[tuple[str, str], float]:
    """Items a second by GPU ('here': this machine) and task, as far as they were measured.

    Of the boxes of a GPU it is the mean by the time that each worked, where none counts for more than
    twice, or less than half of their median: no single one says how fast all are.
    """
    rows = db.execute(
        "SELECT gpu, task, items / seconds, seconds FROM measurements WHERE seconds > 0 AND items > 0"
        " ORDER BY changed DESC"
    )
    measured: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for gpu, task, rate, seconds in rows:
        measured.setdefault((gpu, task), []).append((rate, seconds))
    return {key: _mean(of_boxes[:LAST_BOXES]) for key, of_boxes in measured.items()}


def forget_measured(db: sqlite3.Connection, box: str) -> None:
    """Take out what was measured of a box."""
    db.execute("DELETE FROM measurements WHERE box = ?", (box,))


def _mean(weighted: list[tuple[float, float]]) -> float:
    """The mean of values (value, weight), each taken to be near their median."""
    median = _median(weighted)
    near = [(min(2 * median, max(median / 2, value)), weight) for value, weight in weighted]
    return sum(value * weight for value, weight in near) / sum(weight for _, weight in near)


def _median(weighted: list[tuple[float, float]]) -> float:
    """The lower median of values (value, weight)."""
    ranked = sorted(weighted)
    sums = list(accumulate(weight for _, weight in ranked))
    return ranked[bisect_left(sums, sums[-1] / 2)][0]


def event(db: sqlite3.Connection, now: float, what: str, label: str = "") -> None:
    """Write down something that a person may want to know; the oldest go."""
    cursor = db.execute("INSERT INTO events (at, label, what) VALUES (?, ?, ?)", (now, label, what[:2000]))
    db.execute("DELETE FROM events WHERE id <= ?", ((cursor.lastrowid or 0) - MOST_EVENTS,))


def put_fact(db: sqlite3.Connection, name: str, value: Any, now: float) -> None:
    """Keep a value (JSON) under a name."""
    db.execute(
        "INSERT INTO facts VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value,"
        " changed = excluded.changed",
        (name, json.dumps(value), now),
    )


def fact(db: sqlite3.Connection, name: str) -> Any:
    """The value under a name; None where there is none."""
    row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return json.loads(row[0]) if row else None


def _box(row: sqlite3.Row) -> Box:
    columns = {name: row[name] for name in row.keys()}  # noqa: SIM118 - a Row is no mapping
    columns["hardware"] = json.loads(columns["hardware"])
    return Box(**columns)
