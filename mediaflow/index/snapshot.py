"""Snapshots: one FAISS file for each space, made of the catalog's vectors and replaced atomically.

A snapshot names its last vector; a reader adds the newer ones (`reader.py`), so that findings are
searchable at once. It can be deleted at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import TypeAdapter

from mediaflow.disk import sync_folder, writing
from mediaflow.errors import CatalogError
from mediaflow.index import labels
from mediaflow.index.file import sync, write
from mediaflow.index.inverted import extend_inverted, inverted
from mediaflow.index.labels import SAMPLE, Gathering
from mediaflow.index.vectors import SIZED, VALUE_BYTES, dimension_of, vectors
from mediaflow.settings import home

if TYPE_CHECKING:
    import faiss

# Up to here every vector is compared (exact, half precision as stored); above, an inverted file
# with 8-bit codes is searched in part (`inverted.py`). Measured in docs/search.md.
EXACT_UP_TO = 50_000
# Vectors that may be newer than a snapshot, whatever its size.
MAX_TAIL = 10_000
# The lists of an inverted file are trained again when the space has grown by this factor.
MAX_GROWTH = 1.5
# The version of new snapshots; one of another version is read where possible, and made again.
VERSION = 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of `current.json`: the file, the last vector in it, and its recall.

    `recall` is recall@10 against exact search, measured when its lists were trained, on `trained` vectors;
    1.0 for an exact one.
    `catalog` identifies the catalog it was made from, and `mark` its last vector: a catalog restored from a
    backup assigns the ids again. `bytes` is the size of the file, `sha256` that of its bytes,
    `head` that of the part that a reader checks.
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
    trained: int = 0
    version: int = 1


_DESCRIPTION = TypeAdapter(Snapshot)


def space_folder(space: str) -> Path:
    """The folder of a space's snapshot; a space's name may hold any character."""
    return home() / "index" / quote(space, safe="")


def current(db: sqlite3.Connection, space: str) -> Snapshot | None:
    """The snapshot to read now.

    None where there is none, its file is missing or cut short, its vectors have another size than the
    space's, or it is of another catalog, or of this one before it was restored from a backup.
    """
    newest = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'vectors'").fetchone()
    for _ in range(2):  # it may be replaced between the looks at its description and at its file
        try:
            snapshot = _DESCRIPTION.validate_json((space_folder(space) / "current.json").read_bytes())
            size = (space_folder(space) / snapshot.file).stat().st_size
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            return None
        if snapshot.last > (newest[0] if newest else 0) or not _is_of(db, space, snapshot):
            return None
        if size == snapshot.bytes:
            return snapshot
    return None


def _is_of(db: sqlite3.Connection, space: str, snapshot: Snapshot) -> bool:
    return (
        (snapshot.space, snapshot.dimension) == (space, dimension_of(db, space))
        and snapshot.catalog == _identity(db)
        and _mark(db, snapshot.last) in ("", snapshot.mark)
    )


def _mark(db: sqlite3.Connection, last: int) -> str:
    """A hash that identifies the vector with this id, as a restored backup reuses ids; "" when it is gone."""
    row = db.execute("SELECT value FROM vectors WHERE id = ?", (last,)).fetchone()
    return hashlib.sha256(row[0]).hexdigest()[:16] if row else ""


def _identity(db: sqlite3.Connection) -> str:
    return str(db.execute("SELECT catalog FROM identity").fetchone()[0])


def follow(db: sqlite3.Connection, every: int) -> list[Snapshot]:
    """Bring up to date the snapshots that are more than `every` vectors behind the catalog."""
    spaces = [row[0] for row in db.execute("SELECT name FROM spaces").fetchall()]
    return [build(db, space, extend=True) for space in spaces if lags(db, space, current(db, space), every)]


def lags(db: sqlite3.Connection, space: str, snapshot: Snapshot | None, every: int) -> bool:
    """Whether a space's snapshot is so far behind the catalog that it should be made again."""
    if snapshot and snapshot.version != VERSION:
        return True
    newer = db.execute(
        "SELECT COUNT(*) FROM vectors WHERE space = ? AND id > ?", (space, snapshot.last if snapshot else 0)
    ).fetchone()[0]
    # A tenth at least, so that the work of a long run stays in proportion to its vectors. At most MAX_TAIL:
    # every search reads the vectors that are newer than the snapshot.
    share = min(snapshot.count // 10, MAX_TAIL) if snapshot else 0
    return bool(newer > max(every, share))


def rebuild(db: sqlite3.Connection) -> list[Snapshot]:
    """Make all snapshots from the catalog alone."""
    return [build(db, row[0]) for row in db.execute("SELECT name FROM spaces ORDER BY name").fetchall()]


def build(db: sqlite3.Connection, space: str, *, extend: bool = False) -> Snapshot:
    """Make the snapshot of one space and replace the last one; one process at a time.

    With `extend`, the last one of a large space is read and the newer vectors are added, which takes seconds;
    training new lists takes minutes.
    Raises StorageError when the disk does not take it (the last one stays), and CatalogError for a space
    that is not (or no longer) in the catalog.
    """
    folder = space_folder(space)
    with writing(folder), alone(folder):
        dimension = dimension_of(db, space)
        if dimension is None:
            raise CatalogError(f"The catalog has no space {space}. Nothing need be done.")
        last, count = db.execute(
            f"SELECT COALESCE(MAX(id), 0), COUNT(*) FROM vectors WHERE space = ? AND {SIZED}",
            (space, VALUE_BYTES * dimension),
        ).fetchone()
        gathering, trained = Gathering(max(1, count // SAMPLE)), count
        base = _base(db, space, count) if extend else None
        extended = base and extend_inverted(db, base, folder / base.file, last)
        if base and extended:
            index, gathering = extended
            recall, probes, trained = base.recall, base.probes, base.trained
        elif count <= EXACT_UP_TO:
            index, recall, probes = _exact(db, space, last, dimension, gathering), 1.0, 0
        else:
            index, recall, probes = inverted(db, space, last, dimension, count, gathering)
        count = index.ntotal  # some may have been forgotten meanwhile
        snapshot = Snapshot(
            space, dimension, f"{last}-{count}.faiss", last, count, recall, probes, _identity(db),
            _mark(db, last), trained=trained, version=VERSION,
        )  # fmt: skip
        return _replace(folder, snapshot, index, gathering)


def _base(db: sqlite3.Connection, space: str, count: int) -> Snapshot | None:
    """The snapshot that one of `count` vectors can be made of; None where its lists would not serve."""
    snapshot = current(db, space)
    if snapshot is None or snapshot.version != VERSION or not snapshot.probes:
        return None
    return snapshot if count <= MAX_GROWTH * snapshot.trained else None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from replacing the snapshot in `folder`; the system lets go when this one ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _exact(
    db: sqlite3.Connection, space: str, last: int, dimension: int, gathering: Gathering
) -> faiss.Index:
    import faiss

    codes = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexIDMap2(codes)
    for piece in gathering.each(vectors(db, space, 0, last)):
        index.add_with_ids(piece.values, piece.ids)
    return index


def _replace(folder: Path, snapshot: Snapshot, index: faiss.Index, gathering: Gathering) -> Snapshot:
    """Write the files, then `current.json` that names them, then remove older ones.

    A reader that has an older file open keeps it; one that starts between finds a whole pair.
    """
    partial, description = folder / "index.partial", folder / "current.json.partial"
    partial_labels = folder / "labels.partial"
    for left in folder.glob("*.partial"):  # by a process that was killed
        left.unlink(missing_ok=True)
    try:
        sha256, head = write(index, partial)
        snapshot = replace(snapshot, bytes=partial.stat().st_size, sha256=sha256, head=head)
        labels.write(partial_labels, sha256, gathering.labels(), gathering.sample(snapshot.dimension))
        description.write_text(json.dumps(asdict(snapshot)))
        sync(description)
        partial.replace(folder / snapshot.file)
        partial_labels.replace(labels.path_of(folder / snapshot.file))
        description.replace(folder / "current.json")
    finally:
        for left in (partial, partial_labels, description):
            left.unlink(missing_ok=True)
    # Both names must be on the disk before the older file goes, or a power cut could leave neither.
    sync_folder(folder)
    for old in files(folder):
        if old.stem != Path(snapshot.file).stem:
            old.unlink(missing_ok=True)
    return snapshot


def files(folder: Path) -> list[Path]:
    """The files of snapshots in a folder, of the newest and of older ones."""
    return [*folder.glob("*.faiss"), *folder.glob("*.npz")]
