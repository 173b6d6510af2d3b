"""Operations that write, each with what it begins with, and what must hold after it was killed."""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

# All that an operation imports is imported before it is forked.
import faiss  # noqa: F401
import numpy as np
from PIL import Image
from redis import Redis

from jobs import handlers, stages
from mediaflow.catalog import assets, findings, locations, work
from mediaflow.catalog.database import connect, transaction
from mediaflow.catalog.locations import Candidate, Scope
from mediaflow.index import snapshot
from mediaflow.index.reader import SpaceReader
from mediaflow.media import cache, prepare
from mediaflow.media.rendition import Rendition
from mediaflow.models.identity import task_model
from mediaflow.ops.doctor import ledger, renditions, snapshots
from mediaflow.ops.doctor.report import Examination
from mediaflow.ops.forget import forget
from mediaflow.queues.recovery import live_jobs
from mediaflow.settings import home, load_settings

DIMENSION = 16
SPACE = "pictures"
OCR, EMBED = "ocr", "embed"
os.environ["MEDIAFLOW_INDEX__SNAPSHOT_EVERY"] = "1"


@dataclass(frozen=True, slots=True)
class Operation:
    """`build` makes the home that it begins with; `run` is what is killed, and then done again."""

    build: Callable[[], None]
    run: Callable[[], None]


class Bench:
    """A worker's place whose child answers what the operation says."""

    job = "job"

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.connection, self.answers = client(), answers

    def work(self, items: Sequence[dict[str, Any]]) -> Generator[tuple[int, dict[str, Any]], None, None]:
        yield from zip(range(len(items)), self.answers, strict=False)

    def wait(self, seconds: float) -> bool:
        return True

    def keep(self, arguments: Sequence[Any]) -> None: ...

    def patiently(self, action: Callable[[], Any]) -> Any:
        return action()


def client() -> Redis:
    return Redis.from_url(os.environ.get("MEDIAFLOW_REDIS_URL", "redis://127.0.0.1:1/0"))


def empty_queue() -> None:
    if "MEDIAFLOW_REDIS_URL" in os.environ:
        with client() as connection:
            connection.flushall()


def unit(count: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _add_assets(db: sqlite3.Connection, count: int, first: int = 0) -> list[int]:
    ids = []
    with transaction(db):
        for number in range(first, first + count):
            asset = assets.add(db, f"{number:064x}", "image", 1, {})
            name = f"{number}.jpg".encode()
            [id] = locations.enqueue(db, "default", 1, "job", [Candidate(b"/a", name, 1, 1, None)])
            locations.prepared(db, id, asset)
            ids.append(asset)
    return ids


def _add_vectors(db: sqlite3.Connection, ids: Sequence[int], seed: int) -> None:
    with transaction(db):
        for id, value in zip(ids, unit(len(ids), seed), strict=True):
            findings.store(db, id, EMBED, "m", {}, 1.0)
            findings.store_vectors(db, id, SPACE, ["picture"], [("picture", 0, None, None, value)])
            work.finish(db, id, EMBED, "m")


def _build_index() -> None:
    with closing(connect()) as db:
        ids = _add_assets(db, 60)
        _add_vectors(db, ids[:40], 1)
        snapshot.build(db, SPACE)
        _add_vectors(db, ids[40:], 2)


def _run_index() -> None:
    with closing(connect()) as db:
        snapshot.follow(db, 10)


def _build_store() -> None:
    with closing(connect()) as db:
        ids = _add_assets(db, 3)
        with transaction(db):
            for id in ids:
                work.want(db, id, OCR, task_model(OCR), "job")
                work.want(db, id, EMBED, task_model(EMBED), "job")


def _run_store() -> None:
    embedded, read = [], []
    for number, value in enumerate(unit(3, 3)):
        asset = f"{number:064x}"
        line = {"text": f"word{number} Rechnung", "confidence": 0.9, "box": [[0, 0]] * 4}
        vector = {"space": SPACE, "ordinal": 0, "page": None, "time": None}
        vector["value"] = base64.b64encode(value.astype("<f2").tobytes()).decode()
        read.append(
            {"asset": asset, "data": {"text": line["text"], "lines": [line]}, "seconds": 1.0, "vectors": []}
        )
        embedded.append({"asset": asset, "data": {}, "seconds": 1.0, "vectors": [vector]})
    stages.store(Bench(), 1, OCR, task_model(OCR), read)
    stages.store(Bench(), 1, EMBED, task_model(EMBED), embedded)


def _original() -> Path:
    return home().parent / "original.png"


def _build_prepare() -> None:
    Image.effect_noise((320, 240), 50).convert("RGB").save(_original())
    with closing(connect()) as db, transaction(db):
        locations.enqueue(
            db, "default", 1, "job", [Candidate(os.fsencode(_original().parent), b"original.png", 1, 1, None)]
        )


def _run_prepare() -> None:
    handler = handlers.Prepare()
    handler.load()
    [result] = handler.handle([{"path": str(_original()), "root": str(_original().parent), "asset": None}])
    stages.prepare(Bench(result), 1, [1], [OCR])


def _build_rendition() -> None:
    """What `forget` and `prune` take away: an asset with a rendition, findings and a place."""
    _build_prepare()
    load_settings.cache_clear()
    rendition = prepare.make_rendition(
        str(_original()),
        cache.rendition_folder(sha256(_original().read_bytes()).hexdigest()),
        load_settings(),
    )
    with closing(connect()) as db, transaction(db):
        asset = assets.add(db, rendition.asset, "image", 1, {})
        locations.prepared(db, 1, asset)
        cache.made(db, asset, cache.size_of(rendition))
        findings.store(db, asset, EMBED, "m", {}, 1.0)
        findings.store_vectors(db, asset, SPACE, ["picture"], [("picture", 0, None, None, unit(1, 1)[0])])
        work.finish(db, asset, EMBED, "m")


def _run_forget() -> None:
    with closing(connect()) as db:
        forget(db, Scope("default"))


def _run_prune() -> None:
    with closing(connect()) as db:
        cache.prune(db, load_settings().renditions.model_copy(update={"days": 0.0}))


OPERATIONS = {
    "index": Operation(_build_index, _run_index),
    "store": Operation(_build_store, _run_store),
    "prepare": Operation(_build_prepare, _run_prepare),
    "forget": Operation(_build_rendition, _run_forget),
    "prune": Operation(_build_rendition, _run_prune),
}

_OF_ASSET = "JOIN assets a ON a.id = x.asset ORDER BY 1, 2, 3, 4"
TABLES = {
    "assets": "SELECT hash, kind, rendition_bytes FROM assets ORDER BY hash",
    "locations": "SELECT folder, name, asset IS NULL, state, reason FROM locations ORDER BY folder, name",
    "work": f"SELECT a.hash, task, model, state, x.reason, x.attempts FROM work x {_OF_ASSET}",
    "findings": f"SELECT a.hash, task, model, data FROM findings x {_OF_ASSET}",
    "passages": f"SELECT a.hash, source, ordinal, text FROM passages x {_OF_ASSET}",
    "vectors": f"SELECT a.hash, space, source, ordinal, value FROM vectors x {_OF_ASSET}",
    "words": "SELECT COUNT(*) FROM passages_words WHERE passages_words MATCH 'rechnung'",
}


def state() -> str:
    """What the catalog and the folders hold, without times and ids."""
    with closing(connect()) as db:
        said: dict[str, Any] = {
            name: [[str(cell) for cell in row] for row in db.execute(query)] for name, query in TABLES.items()
        }
    folders = ("renditions", "index")
    files = [p for folder in folders for p in (home() / folder).rglob("*") if p.is_file()]
    # A snapshot is called after its last vector, and what is stored again has new ids.
    names = (str(path.relative_to(home())) for path in files)
    said["files"] = sorted(re.sub(r"\d+-(\d+).faiss", r"\1 vectors", name) for name in names)
    return json.dumps(said, indent=1)


def check(operation: Operation, expected: str) -> None:
    """What must hold after a kill: all is sound and found, and done again it is as if it was not killed."""
    with closing(connect()) as db:
        _is_sound(db)
        _finds(db)
        if (snapshot.space_folder(SPACE) / "current.json").exists():
            assert snapshot.current(db, SPACE) is not None, "the description names a file that is not whole"
    operation.run()
    with closing(connect()) as db:
        _is_sound(db)
        _finds(db)
        _all_wanted_is_enqueued(db)
        visit = Examination(settings=load_settings())
        _age_renditions()
        for part in (ledger, renditions, snapshots):
            part.examine(visit, db)
        problems = [finding for finding in visit.findings if finding.state == "problem"]
        assert not problems, problems
        assert not [f for f in visit.findings if f.check == "ledger" and f.state != "ok"], visit.findings
    assert state() == expected, f"{state()}\nis not\n{expected}"


def _age_renditions() -> None:
    """The doctor takes nothing young for an orphan."""
    for folder in (home() / "renditions").glob("*/*"):
        os.utime(folder, (1, 1))


def _is_sound(db: sqlite3.Connection) -> None:
    assert [row[0] for row in db.execute("PRAGMA integrity_check")] == ["ok"]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    for table in ("passages_words", "names_words"):
        db.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")
    for folder in (home() / "renditions").glob("*/*"):
        rendition = Rendition.load(folder)
        if rendition is not None:
            for picture in rendition.pictures:
                Image.open(rendition.path(picture.file)).load()


def _finds(db: sqlite3.Connection) -> None:
    """A search answers what an exact one over the catalog's vectors does."""
    rows = db.execute("SELECT id, value FROM vectors WHERE space = ? ORDER BY id", (SPACE,)).fetchall()
    if not rows:
        return
    values = np.stack([np.frombuffer(row[1], dtype="<f2").astype(np.float32) for row in rows])
    reader = SpaceReader(SPACE)
    reader.refresh(db)
    for query in unit(3, 9):
        exact = [rows[at][0] for at in np.argsort(-(values @ query))[:5]]
        there = {row[0] for row in rows}
        found = [id for id, _ in reader.search(query, 5 + len(reader)) if id in there][:5]
        assert found == exact, (found, exact)


def _all_wanted_is_enqueued(db: sqlite3.Connection) -> None:
    wanted = {row[0] for row in db.execute("SELECT DISTINCT job FROM work WHERE state = 'wanted'")}
    if wanted:
        live = live_jobs(client(), [*load_settings().tasks, "index"])
        held = getattr(live, "awaits", live.__contains__)  # type: ignore[attr-defined]
        assert all(held(job) for job in wanted), (wanted, live)
