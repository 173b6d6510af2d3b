"""Costs: what boxes have cost, by day, month, box and task, and for a thousand files."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mediaflow.fleet import ledger
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.speeds import Speeds
from mediaflow.fleet.spending import DAY, START_GB, Spending, day_start, own_estimate, spending

DAYS = 31


@dataclass(frozen=True, slots=True)
class Costs:
    """Dollars. `boxes` are those of the last DAYS days with what each has cost, the newest first.

    `files` are the distinct files of which a box has found something that is kept.
    """

    spent: Spending
    days: dict[str, float]
    months: dict[str, float]
    boxes: list[tuple[Box, float]]
    tasks: dict[str, float] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    files: int = 0

    @property
    def total(self) -> float:
        """What all these boxes have cost."""
        return sum(dollars for _, dollars in self.boxes)

    @property
    def per_thousand(self) -> float | None:
        """Dollars for a thousand files; None before there is any."""
        return self.total / self.files * 1000 if self.files else None


def costs(db: sqlite3.Connection, catalog: sqlite3.Connection | None, now: float) -> Costs:
    """What the ledger and the catalog (which box found what) say; the market is not asked."""
    since = day_start(now) - (DAYS - 1) * DAY
    boxes = [box for box in ledger.boxes(db, ended_since=since) if box.contract is not None]
    charged: dict[str, float] = ledger.fact(db, "charges") or {}
    days: dict[str, float] = {}
    for number in range(DAYS):
        day = since + number * DAY
        name = datetime.fromtimestamp(day, UTC).strftime("%Y-%m-%d")
        dollars = max(own_estimate(db, day, min(now, day + DAY)), charged.get(name, 0.0))
        if dollars:
            days[name] = dollars
    months: dict[str, float] = defaultdict(float)
    for name, dollars in {**charged, **days}.items():
        months[name[:7]] += dollars
    cost_of = {box.label: max(box.charged, estimate(box, now)) for box in boxes}
    tasks, items, files = _by_task(catalog, {box.label: box for box in boxes}, cost_of, ledger.rates(db))
    newest = sorted(boxes, key=lambda box: -box.intended)
    return Costs(
        spent=spending(db, now),
        days=dict(sorted(days.items())),
        months=dict(sorted(months.items())),
        boxes=[(box, cost_of[box.label]) for box in newest],
        tasks=tasks,
        items=items,
        files=files,
    )


def estimate(box: Box, now: float) -> float:
    """What a box has cost by its prices: its disk, then all of it, and its traffic."""
    end = box.ended or now
    ran = max(0.0, end - box.running) if box.running else 0.0
    waited = max(0.0, end - box.intended - ran)
    return (ran * box.price + waited * box.storage) / 3600 + (box.bytes / 1e9 + START_GB) * box.traffic


def _by_task(
    catalog: sqlite3.Connection | None,
    boxes: dict[str, Box],
    cost_of: dict[str, float],
    rates: dict[tuple[str, str], float],
) -> tuple[dict[str, float], dict[str, int], int]:
    """Each box's cost shared among its tasks by the time that their items took; items by task; files."""
    tasks: dict[str, float] = defaultdict(float)
    items: dict[str, int] = defaultdict(int)
    if catalog is None or not boxes:
        return tasks, items, 0
    speeds = Speeds(rates)
    done: dict[str, dict[str, int]] = defaultdict(dict)
    rows = catalog.execute(
        "SELECT box, task, COUNT(*) FROM work WHERE box IS NOT NULL AND state = 'done' GROUP BY box, task"
    )
    for label, task, count in rows:
        if label in boxes:
            done[label][task] = count
            items[task] += count
    for label, counts in done.items():
        gpu = boxes[label].gpu
        whole = speeds.seconds(gpu, counts)
        for task, count in counts.items():
            tasks[task] += cost_of[label] * speeds.seconds(gpu, {task: count}) / whole
    marks = ",".join("?" * len(boxes))
    files = catalog.execute(
        f"SELECT COUNT(DISTINCT asset) FROM work WHERE state = 'done' AND box IN ({marks})", list(boxes)
    ).fetchone()[0]
    return dict(sorted(tasks.items())), dict(items), files
