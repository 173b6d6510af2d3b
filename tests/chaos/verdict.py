"""The verdict: what became of every file, held against what the pile says must have become of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

from mediaflow.catalog.passages import cut
from mediaflow.media.kinds import reason_to_skip
from mediaflow.models.identity import embed_text_model, task_model
from tests.chaos.picture import DEEDS, image_vector, text_vector
from tests.chaos.pile import Bad, Passed, Picture, Pile, Stranger
from tests.chaos.settle import ask
from tests.chaos.system import System
from tests.chaos.tasks import IMAGE_SPACE, TEXT_SPACE, read_lines

# What a harmful picture may be listed with: its own deed, or what the harness did to the child that had it.
REASONS = {
    "segfault": "SIGSEGV", "hang": "longer than", "hoard": "memory", "exit": "exit status 7",
    "refuse": "no task can stand", "break": "RuntimeError", "mistyped": ".",
    "huge": "large|long|size|bytes",
    "crooked": "values, not|unit length", "nan": "not numbers|not finite|NaN",
}  # fmt: skip
HARNESS = "killed the process|took longer than"


@dataclass(slots=True)
class Verdict:
    """What is wrong, by kind; empty when nothing is. `files` and `assets` are how many were looked at."""

    problems: dict[str, list[str]] = field(default_factory=dict)
    files: int = 0
    assets: int = 0

    def add(self, kind: str, what: str) -> None:
        self.problems.setdefault(kind, []).append(what)


@dataclass(frozen=True, slots=True)
class Expected:
    """The rows that a picture must have left: work by (task, model), findings, passages and vectors."""

    work: dict[tuple[str, str], str]
    findings: dict[str, object]
    passages: list[tuple[str, int | None]]
    vectors: Counter[tuple[str, str, int, int | None, bytes]]


def judge_files(system: System, pile: Pile) -> Verdict:
    """Hold the catalog against the pile."""
    verdict = Verdict()
    with system.here(), closing(ask(system)) as db:
        rows = {
            os.path.join(row["folder"], row["name"]): row for row in db.execute("SELECT * FROM locations")
        }
        judged: set[int] = set()
        for path, content in pile.files.items():
            verdict.files += 1
            row = rows.pop(path, None)
            for kind, what in _judge_file(db, path, content, row):
                verdict.add(kind, f"{path!r}: {what}")
            if (
                isinstance(content, Picture)
                and row
                and row["asset"] is not None
                and row["asset"] not in judged
            ):
                judged.add(row["asset"])
                for kind, what in _judge_asset(db, row["asset"], content):
                    verdict.add(kind, f"{content.deed} {path!r} (asset {row['asset']}): {what}")
        for path, row in rows.items():
            if row["gone"] is None:
                verdict.add("vanished", f"{path!r} is not there, and not marked as gone")
        verdict.assets = len(judged)
    return verdict


def _judge_file(
    db: sqlite3.Connection, path: bytes, content: object, row: sqlite3.Row | None
) -> Iterator[tuple[str, str]]:
    if isinstance(content, Passed):
        if row is not None:
            yield "taken in", f"it must not be in the catalog: {tuple(row)}"
        return
    if row is None:
        skipped = reason_to_skip(os.fsdecode(os.path.split(path)[1]))
        if not (isinstance(content, Stranger) and skipped):
            yield "lost", "it is not in the catalog"
        return
    state = f"{row['state']} ({row['reason']}, {row['attempts']} attempts)"
    if row["gone"] is not None:
        yield "lost", "it is marked as gone"
    elif isinstance(content, Bad):
        if row["state"] != "failed" or not re.search(content.reason, row["reason"]) or not row["permanent"]:
            yield "reason", f"{state}, permanent {row['permanent']}; {content.reason!r} was expected"
    elif row["state"] == "queued" or (row["state"] == "failed" and not isinstance(content, Stranger)):
        yield "lost", state
    elif isinstance(content, Picture):
        stored = db.execute("SELECT hash FROM assets WHERE id = ?", (row["asset"],)).fetchone()
        with open(path, "rb") as file:
            if stored is None or stored[0] != hashlib.sha256(file.read()).hexdigest():
                yield "wrong", "it holds another asset than its bytes say"
    elif row["state"] == "done":
        for task in db.execute("SELECT * FROM work WHERE asset = ?", (row["asset"],)):
            if task["state"] not in ("done", "skipped"):
                yield "lost", f"{task['task']} is {task['state']} ({task['reason']})"


def _judge_asset(db: sqlite3.Connection, asset: int, content: Picture) -> Iterator[tuple[str, str]]:
    expected = expect(content)
    work = {
        (row["task"], row["model"]): row for row in db.execute("SELECT * FROM work WHERE asset = ?", (asset,))
    }
    for key, state in expected.work.items():
        row = work.pop(key, None)
        if row is None:
            yield "lost", f"{key} has no row in the ledger"
        elif row["state"] != state:
            kind = "lost" if state == "done" else "quarantine"
            yield kind, f"{key} is {row['state']} ({row['reason']}, {row['attempts']} attempts), not {state}"
        elif state == "failed" and not re.search(f"{REASONS[content.deed]}|{HARNESS}", row["reason"]):
            yield "reason", f"{key}: {row['reason']!r}"
    for key in work:
        yield "wrong", f"{key} is in the ledger, and nobody asked for it"
    rows = db.execute("SELECT task, data FROM findings WHERE asset = ? ORDER BY task", (asset,)).fetchall()
    if [row["task"] for row in rows] != sorted(expected.findings):
        yield "twice or lost", f"findings of {[row['task'] for row in rows]}, not {sorted(expected.findings)}"
    for row in rows:
        if row["task"] in expected.findings and json.loads(row["data"]) != expected.findings[row["task"]]:
            yield "wrong", f"{row['task']} found {row['data'][:200]}, not {expected.findings[row['task']]}"
    passages = [
        (row["text"], row["page"])
        for row in db.execute("SELECT * FROM passages WHERE asset = ? ORDER BY ordinal", (asset,))
    ]
    if passages != expected.passages:
        yield "twice or lost", f"passages {passages}, not {expected.passages}"
    vectors = Counter(
        (row["space"], row["source"], row["ordinal"], row["page"], row["value"])
        for row in db.execute("SELECT * FROM vectors WHERE asset = ?", (asset,))
    )
    if vectors != expected.vectors:
        more, less = vectors - expected.vectors, expected.vectors - vectors
        yield "twice or lost", f"vectors too many: {_short(more)}, missing: {_short(less)}"


def expect(content: Picture) -> Expected:
    """What a picture must have left in the catalog."""
    harmed = DEEDS[content.deed]
    numbers = [None] if len(content.pages) == 1 else list(range(1, len(content.pages) + 1))
    found = read_lines(content.pages, numbers)
    passages = cut("ocr", found) if harmed != "ocr" else []
    tasks = ("look", "ocr", "embed")
    work = {(task, task_model(task)): "failed" if task == harmed else "done" for task in tasks}
    if passages:
        work["embed", embed_text_model("ocr")] = "done"
    findings: dict[str, object] = {
        "look": {"pages": [{"deed": page.deed, "number": page.number} for page in content.pages]},
        "ocr": found,
        "embed": {},
    }
    findings.pop(harmed, None)
    vectors: list[tuple[str, str, int, int | None, bytes]] = [
        (TEXT_SPACE, "ocr", ordinal, None, text_vector(passage.text).astype("<f2").tobytes())
        for ordinal, passage in enumerate(passages)
    ]
    if harmed != "embed":
        vectors += [
            (
                IMAGE_SPACE,
                "picture",
                ordinal,
                numbers[ordinal],
                image_vector(page).astype("<f2").tobytes(),
            )
            for ordinal, page in enumerate(content.pages)
        ]
    pieces = [(passage.text, passage.page) for passage in passages]
    return Expected(work, findings, pieces, Counter(vectors))


def _short(vectors: Counter[tuple[str, str, int, int | None, bytes]]) -> list[tuple[object, ...]]:
    return [key[:4] for key in vectors.elements()]
