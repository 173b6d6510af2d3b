"""Reading a space: the snapshot, mapped into memory, and the vectors that are newer than it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mediaflow.index.file import HEAD, digest
from mediaflow.index.snapshot import Snapshot, current, space_folder
from mediaflow.index.vectors import vectors

# Enough vectors to know what is usual in a space.
SAMPLE = 1000


@dataclass(slots=True)
class SpaceReader:
    """One space, open for search. `refresh` follows the catalog; both are cheap when nothing is new."""

    space: str
    _snapshot: Snapshot | None = None
    _index: Any = None  # faiss.Index
    _last: int = 0
    _sample: tuple[int, np.ndarray, bool] | None = None
    _ids: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _values: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))

    def refresh(self, db: sqlite3.Connection) -> None:
        """Take up a newer snapshot, and the vectors stored since."""
        snapshot = current(db, self.space)
        if snapshot != self._snapshot:
            self._open(snapshot)
        for ids, values in vectors(db, self.space, self._last):
            self._ids = np.concatenate([self._ids, ids])
            self._values = np.concatenate([self._values, values]) if self._values.size else values
            self._last = int(ids[-1])

    def search(self, query: np.ndarray, k: int) -> list[tuple[int, float]]:
        """The `k` best (vector id, inner product) for a query (dimension,) float32, best first.

        Ids may be of vectors that were deleted since: the catalog tells.
        """
        found: list[tuple[int, float]] = []
        if self._index is not None and self._index.ntotal:
            scores, ids = self._index.search(query[None, :], min(k, self._index.ntotal))
            found += [(int(id), float(score)) for id, score in zip(ids[0], scores[0], strict=True) if id >= 0]
        if self._values.size:
            scores = self._values @ query
            best = np.argsort(-scores)[:k]
            found += [(int(self._ids[at]), float(scores[at])) for at in best]
        return sorted(found, key=lambda pair: -pair[1])[:k]

    def sample(self, db: sqlite3.Connection, query: np.ndarray) -> tuple[np.ndarray, bool]:
        """Inner products (n,) of the query with vectors spread over the space; True where that is all."""
        total = len(self)
        if self._sample is None or self._sample[0] != total:
            step = max(1, total // SAMPLE)
            rows = db.execute(
                "SELECT value FROM vectors WHERE space = ? AND (? = 1 OR id % ? = 0)",
                (self.space, step, step),
            ).fetchall()
            joined = np.frombuffer(b"".join(row[0] for row in rows), dtype="<f2").astype(np.float32)
            self._sample = (total, joined.reshape(len(rows), -1), step == 1)
        return self._sample[1] @ query if len(self._sample[1]) else np.empty(0, np.float32), self._sample[2]

    def __len__(self) -> int:
        return len(self._ids) + (self._index.ntotal if self._index is not None else 0)

    def _open(self, snapshot: Snapshot | None) -> None:
        import faiss

        self._snapshot, self._index, self._last = snapshot, None, 0
        self._ids, self._values = np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
        if snapshot is None:
            return
        path = space_folder(self.space) / snapshot.file
        try:
            if digest(path, HEAD) != snapshot.head:
                return  # damaged: the catalog has every vector, and `mediaflow doctor` makes it anew
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
        except (OSError, RuntimeError):
            return  # replaced since its description was read
        if (index.ntotal, index.d) != (snapshot.count, snapshot.dimension):
            return
        self._index = index
        if snapshot.probes:
            self._index.nprobe = snapshot.probes
        self._last = snapshot.last
