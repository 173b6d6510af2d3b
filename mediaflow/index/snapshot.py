"""Snapshots: one FAISS file for each space, made of the catalog's vectors and replaced atomically.

A snapshot says which vector was the last it holds; a reader adds the newer ones (`reader.py`), so
that what was stored a second ago is found. It can be thrown away at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from mediaflow.disk import sync_folder, writing
from mediaflow.index.file import sync, write
from mediaflow.settings import home

if TYPE_CHECKING:
    import faiss

# Up to here every vector is compared (exact, half precision as stored); above, an inverted file
# with 8-bit codes is searched in part. Measured in docs/search.md.
EXACT_UP_TO = 50_000
WANTED_RECALL = 0.98
CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What stands in `current.json`: the file, the last vector in it, and how well it finds.

    `recall` is recall@10 against exact search, measured when it was made; 1.0 for an exact one.
    `catalog` says of which catalog it was made, and `mark` what its last vector was: a catalog put back
    from a backup gives the ids away again. `bytes` is the size of the file, `sha256` that of its bytes,
    `head` that of the part which a reader checks.
    """

    space: str
    dimension: int
    file: str
    last: int
    count: int
    recall: float
    probes: int
    catalog: str
    mark: str
    bytes: int = 0
    sha256: str = ""
    head: str = ""


def space_folder(space: str) -> Path:
    """The folder of a space's snapshot; a space's name may hold any character."""
    return home() / "index" / quote(space, safe="")


def current(db: sqlite3.Connection, space: str) -> Snapshot | None:
    """The snapshot to read now.

    None where there is none, its file is missing or cut short, or it is none of this catalog: made of
    another one, or before this one was put back from a backup.
    """
    newest = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'vectors'").fetchone()
    for _ in range(2):  # it may be replaced between the looks at its description and at its file
        try:
            snapshot = Snapshot(**json.loads((space_folder(space) / "current.json").read_text()))
            size = (space_folder(space) / snapshot.file).stat().st_size
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError):
            return None
        if snapshot.last > (newest[0] if newest else 0) or not _is_of(db, snapshot):
            return None
        if size == snapshot.bytes:
            return snapshot
    return None


def _is_of(db: sqlite3.Connection, snapshot: Snapshot) -> bool:
    return snapshot.catalog == _identity(db) and _mark(db, snapshot.last) in ("", snapshot.mark)


def _mark(db: sqlite3.Connection, last: int) -> str:
    """What tells the vector with this id from another that has the id in another past; "" when it is gone."""
    row = db.execute("SELECT value FROM vectors WHERE id = ?", (last,)).fetchone()
    return hashlib.sha256(row[0]).hexdigest()[:16] if row else ""


def _identity(db: sqlite3.Connection) -> str:
    return str(db.execute("SELECT catalog FROM identity").fetchone()[0])


def follow(db: sqlite3.Connection, every: int) -> list[Snapshot]:
    """Make the snapshots anew that are more than `every` vectors behind the catalog."""
    made = []
    for row in db.execute("SELECT name FROM spaces").fetchall():
        snapshot = current(db, row[0])
        last = snapshot.last if snapshot else 0
        newer = db.execute(
            "SELECT COUNT(*) FROM vectors WHERE space = ? AND id > ?", (row[0], last)
        ).fetchone()[0]
        # A tenth at least, so that the work of a long run stays in proportion to its vectors.
        if newer > max(every, snapshot.count // 10 if snapshot else 0):
            made.append(build(db, row[0]))
    return made


def rebuild(db: sqlite3.Connection) -> list[Snapshot]:
    """Make all snapshots anew from the catalog."""
    return [build(db, row[0]) for row in db.execute("SELECT name FROM spaces ORDER BY name").fetchall()]


def build(db: sqlite3.Connection, space: str) -> Snapshot:
    """Make the snapshot of one space and put it in the place of the last one; one process at a time.

    Raises StorageError when the disk does not take it; the last one stays.
    """
    folder = space_folder(space)
    with writing(folder), alone(folder):
        dimension = db.execute("SELECT dimension FROM spaces WHERE name = ?", (space,)).fetchone()[0]
        last, count = db.execute(
            "SELECT COALESCE(MAX(id), 0), COUNT(*) FROM vectors WHERE space = ?", (space,)
        ).fetchone()
        if count <= EXACT_UP_TO:
            index, recall, probes = _exact(db, space, last, dimension), 1.0, 0
        else:
            index, recall, probes = _inverted(db, space, last, dimension, count)
        count = index.ntotal  # some may have been forgotten meanwhile
        file = f"{last}-{count}.faiss"
        mark = _mark(db, last)
        snapshot = Snapshot(space, dimension, file, last, count, recall, probes, _identity(db), mark)
        return _replace(folder, snapshot, index)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from replacing the snapshot in `folder`; the system lets go when this one ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def vectors(
    db: sqlite3.Connection, space: str, after: int, last: int | None = None
) -> Iterator[tuple[Any, Any]]:
    """The space's vectors by id, in pieces: ids (n,) int64 and values (n, dimension) float32."""
    rows = db.execute(
        "SELECT id, value FROM vectors WHERE space = ? AND id > ? AND (? IS NULL OR id <= ?) ORDER BY id",
        (space, after, last, last),
    )
    while piece := rows.fetchmany(CHUNK):
        values = np.frombuffer(b"".join(row[1] for row in piece), dtype="<f2").astype(np.float32)
        yield np.array([row[0] for row in piece], dtype=np.int64), values.reshape(len(piece), -1)


def _exact(db: sqlite3.Connection, space: str, last: int, dimension: int) -> faiss.Index:
    import faiss

    codes = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexIDMap2(codes)
    for ids, values in vectors(db, space, 0, last):
        index.add_with_ids(values, ids)
    return index


def _inverted(
    db: sqlite3.Connection, space: str, last: int, dimension: int, count: int
) -> tuple[faiss.Index, float, int]:
    import faiss

    lists = 2 ** round(math.log2(4 * math.sqrt(count)))
    coarse = faiss.IndexFlatIP(dimension)
    kind = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexIVFScalarQuantizer(coarse, dimension, lists, kind, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    sample = _sample(db, space, count, lists * 40)
    index.train(sample)
    for ids, values in vectors(db, space, 0, last):
        index.add_with_ids(values, ids)
    recall, probes = _tune(db, space, last, index, sample[:: max(1, len(sample) // 200)][:200])
    return index, recall, probes


def _sample(db: sqlite3.Connection, space: str, count: int, size: int) -> np.ndarray:
    """About `size` vectors spread evenly over the space, in random order."""
    step = max(1, count // size)
    # Copied, or each slice would keep the whole piece that it is a view of.
    parts = [values[::step].copy() for _, values in vectors(db, space, 0)]
    sample = np.concatenate(parts)
    np.random.default_rng(0).shuffle(sample)
    return sample


def _tune(
    db: sqlite3.Connection, space: str, last: int, index: faiss.IndexIVF, queries: np.ndarray
) -> tuple[float, int]:
    """The fewest lists to look into for WANTED_RECALL against exact search, and the recall@10 seen.

    The queries are vectors of the space: each finds itself first, which says nothing and is not counted.
    Vectors that are not of the space find a little less, so twice as many lists are taken in the end.
    """
    truth = _nearest(db, space, last, queries, 11)[:, 1:]

    def recall(probes: int) -> float:
        index.nprobe = probes
        found = index.search(queries, 11)[1]
        return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, truth, strict=True)]))

    probes = 4
    while recall(probes) < WANTED_RECALL and probes < index.nlist:
        probes *= 2
    probes = min(2 * probes, index.nlist)
    return recall(probes), probes


def _nearest(db: sqlite3.Connection, space: str, last: int, queries: np.ndarray, k: int) -> np.ndarray:
    """Ids (n, k) of the exact nearest by inner product, read piece by piece."""
    scores = np.full((len(queries), 0), 0, dtype=np.float32)
    ids = np.empty((len(queries), 0), dtype=np.int64)
    for piece_ids, values in vectors(db, space, 0, last):
        scores = np.concatenate([scores, queries @ values.T], axis=1)
        ids = np.concatenate([ids, np.tile(piece_ids, (len(queries), 1))], axis=1)
        best = np.argsort(-scores, axis=1)[:, :k]
        scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
    return ids


def _replace(folder: Path, snapshot: Snapshot, index: faiss.Index) -> Snapshot:
    """Write the file, then `current.json` that names it, then remove older files.

    A reader that has an older file open keeps it; one that starts between finds a whole pair.
    """
    partial, description = folder / "index.partial", folder / "current.json.partial"
    for left in folder.glob("*.partial"):  # by a process that was killed
        left.unlink(missing_ok=True)
    try:
        sha256, head = write(index, partial)
        snapshot = replace(snapshot, bytes=partial.stat().st_size, sha256=sha256, head=head)
        partial.replace(folder / snapshot.file)
        description.write_text(json.dumps(asdict(snapshot)))
        sync(description)
        description.replace(folder / "current.json")
    finally:
        partial.unlink(missing_ok=True)
        description.unlink(missing_ok=True)
    # Both names must be on the disk before the older file goes, or a power cut could leave neither.
    sync_folder(folder)
    for old in folder.glob("*.faiss"):
        if old.name != snapshot.file:
            old.unlink(missing_ok=True)
    return snapshot
