"""What else must be in order when all is at rest: search, index, catalog, queues, and what lies about."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing

import numpy as np
from rq.intermediate_queue import IntermediateQueue
from rq.registry import StartedJobRegistry

from mediaflow.index.reader import SpaceReader
from mediaflow.index.snapshot import current
from mediaflow.ops.doctor.renditions import YOUNG
from mediaflow.queues.jobs import AllowedJob, queue
from mediaflow.settings import load_settings
from tests.chaos.picture import DEEDS
from tests.chaos.pile import Bad, Picture, Pile, Stranger
from tests.chaos.processes import processes
from tests.chaos.scene import QUEUES
from tests.chaos.settle import ask
from tests.chaos.system import System, complaint
from tests.chaos.verdict import Verdict

QUERIES = 25
ATTEMPTS = 20  # a look at what moves: a job may be on its way while the lists are read


def inspect_search(system: System, pile: Pile, verdict: Verdict) -> None:
    """Each word finds exactly the file that holds it, and what vanished is not found."""
    places: dict[Picture, set[str]] = {content: set() for content in pile.ever}
    for path, content in pile.files.items():
        if isinstance(content, Picture):
            places[content].add(os.fsdecode(path))
    words = {page.word: content for content in places for page in content.pages}
    answer = system.run(
        "search", "-", "--in", "ocr", "--limit", "5", stdin="".join(f"{word}\n" for word in words)
    )
    if wrong := complaint(answer, (0,)):
        verdict.add("search", f"{wrong}: {answer.error[-300:]}")
        return
    answered = [json.loads(line) for line in answer.output.splitlines()]
    if [line["query"] for line in answered] != list(words):
        verdict.add("search", "it did not answer every question")
    for line in answered:
        found = [result["path"] for result in line["results"]]
        content = words[line["query"]]
        readable = content.deed not in ("mistyped", "huge")
        right = len(found) == 1 and found[0] in places[content] if places[content] and readable else not found
        if not right:
            verdict.add("search", f"{line['query']} found {found}, it is in {sorted(places[content])}")


def inspect_failures(system: System, pile: Pile, verdict: Verdict) -> None:
    """Each bad file and each harmful picture is listed, and no good one is."""
    expected = set()
    for path, content in pile.files.items():
        if isinstance(content, Bad):
            expected.add((os.fsdecode(path), "prepare"))
        elif isinstance(content, Picture) and DEEDS[content.deed]:
            expected.add((os.fsdecode(path), DEEDS[content.deed]))
    strangers = {os.fsdecode(path) for path, content in pile.files.items() if isinstance(content, Stranger)}
    answer = system.run("failures", "--json")
    if wrong := complaint(answer, (0,)):
        verdict.add("failures", f"{wrong}: {answer.error[-300:]}")
        return
    rows = json.loads(answer.output)
    listed = {(row["path"], row["stage"]) for row in rows if row["path"] not in strangers}
    for what in expected - listed:
        verdict.add("failures", f"{what} is not listed")
    for what in listed - expected:
        verdict.add("failures", f"{what} is listed")
    for row in rows:
        if not row["reason"] or row["attempts"] < 1:
            verdict.add("failures", f"without a reason or an attempt: {row}")


def inspect_index(system: System, verdict: Verdict) -> None:
    """Every space's snapshot opens, and finds with the newer vectors what an exact search finds."""
    with system.here(), closing(ask(system)) as db:
        for (space,) in db.execute("SELECT name FROM spaces").fetchall():
            rows = db.execute(
                "SELECT id, value FROM vectors WHERE space = ? ORDER BY id", (space,)
            ).fetchall()
            if not rows:
                continue
            if current(db, space) is None and len(rows) > 50:
                verdict.add("index", f"{space}: no snapshot that can be used, of {len(rows)} vectors")
            reader = SpaceReader(space)
            reader.refresh(db)
            ids = np.array([row["id"] for row in rows])
            values = np.stack([np.frombuffer(row["value"], dtype="<f2").astype(np.float32) for row in rows])
            for query in values[:: max(1, len(values) // QUERIES)]:
                scores = values @ query
                # What was deleted since the snapshot is answered too, and left out by the catalog.
                found = [
                    (id, score) for id, score in reader.search(query, len(reader)) if id in set(ids.tolist())
                ]
                best = np.sort(scores)[::-1][:10]
                if len(found) != len(ids) or not np.allclose(
                    [score for _, score in found[:10]], best, atol=0.01
                ):
                    verdict.add(
                        "index", f"{space}: {len(found)} of {len(ids)} vectors are found, or in another order"
                    )
                    break


def inspect_catalog(system: System, verdict: Verdict) -> None:
    """The file is whole, and so are its full-text indexes; nothing belongs to nothing."""
    with closing(ask(system)) as db:
        if (said := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            verdict.add("catalog", f"integrity_check: {said}")
        if rows := db.execute("PRAGMA foreign_key_check").fetchall():
            verdict.add("catalog", f"foreign_key_check: {len(rows)} rows")
        with system.here():
            most = load_settings().retries.attempts
        for table in ("work", "locations"):
            given_up = (
                f"SELECT COUNT(*) FROM {table} WHERE state = 'failed' AND due IS NULL AND NOT permanent"
            )
            if count := db.execute(f"{given_up} AND attempts != ?", (most,)).fetchone()[0]:
                verdict.add("quarantine", f"{count} of {table} were given up, but not at attempt {most}")
        for table in ("passages_words", "names_words"):
            try:
                db.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")
            except Exception as error:
                verdict.add("catalog", f"{table}: {error}")
        db.rollback()


def inspect_queues(system: System, verdict: Verdict) -> None:
    """Nothing waits, nothing is half taken, nothing is said to run; nothing ran that must not."""
    if system.trace.exists():
        verdict.add("intruder", "a job ran os.system")
    left: list[str] = []
    with system.here(), system.client() as client:
        for _ in range(ATTEMPTS):
            left = []
            for name in QUEUES:
                waiting = queue(name, client)
                started = StartedJobRegistry(queue=waiting, job_class=AllowedJob)
                taken = IntermediateQueue(waiting.key, client).key
                # Bytes: what others have put in need not be text.
                left += [f"{name}: {id!r} waits" for id in client.lrange(waiting.key, 0, -1)]
                left += [f"{name}: {id!r} is half taken" for id in client.lrange(taken, 0, -1)]
                left += [f"{name}: {id!r} runs" for id in client.zrange(started.key, 0, -1)]
            if not left:
                return
            time.sleep(0.5)
    for what in left:
        verdict.add("stuck job", what)


def _an_hour_passes(system: System) -> None:
    """Younger renditions that the catalog does not know may be about to be entered: those are left alone."""
    then = time.time() - 2 * YOUNG
    for folder in (system.home / "renditions").glob("*/*"):
        os.utime(folder, (then, then))


def inspect_end(system: System, verdict: Verdict) -> None:
    """`down` ends everything, and after `doctor` nothing lies about."""
    system.halt()
    stopped = system.run("down")
    if wrong := complaint(stopped, (0,)):
        verdict.add("end", f"down: {wrong}: {stopped.error[-300:]}")
    deadline = time.monotonic() + 10
    while (left := processes(system.home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in left:
        verdict.add("orphan", f"process {process}")
    _an_hour_passes(system)
    doctor = system.run("doctor")
    if wrong := complaint(doctor, (0,)):
        verdict.add("end", f"doctor: {wrong}: {(doctor.error or doctor.output)[-600:]}")
    with closing(ask(system)) as db:
        known = {row[0] for row in db.execute("SELECT hash FROM assets")}
    for folder in (system.home / "renditions").glob("*/*"):
        if folder.name not in known:
            verdict.add("orphan", f"rendition {folder.name}")
    for path in system.home.rglob("*.partial*"):
        if path.parent.parent.name != "renditions":  # named above
            verdict.add("orphan", str(path.relative_to(system.home)))
