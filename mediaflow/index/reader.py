"""Reading a space: the snapshot, mapped into memory, and the vectors that are newer than it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mediaflow.index.file import HEAD, digest
from mediaflow.index.labels import SAMPLE, Labels, path_of, read_labels, read_sample
from mediaflow.index.snapshot import Snapshot, current, space_folder
from mediaflow.index.vectors import SIZED, SOURCES, VALUE_BYTES, decoded, dimension_of, vectors

if TYPE_CHECKING:
    from collections.abc import Collection

Found = list[tuple[int, float]]
"""(vector id, inner product), best first."""


@dataclass(frozen=True, slots=True)
class Among:
    """Selected vectors: those of these assets (n,) int64 and of these sources (picture, ocr, speech)."""

    assets: np.ndarray
    sources: Collection[str]


class SpaceReader:
    """One space, open for search. `refresh` follows the catalog; both are cheap when nothing is new."""

    def __init__(self, space: str) -> None:
        self.space = space
        self.dimension = 0
        self._snapshot: Snapshot | None = None
        self._opened: Opened | None = None
        self._tail = Tail(0)
        self._background: tuple[int, np.ndarray, bool] | None = None

    def refresh(self, db: sqlite3.Connection) -> None:
        """Open a newer snapshot, and read the vectors stored since."""
        dimension = dimension_of(db, self.space) or 0
        snapshot = current(db, self.space)
        if (snapshot, dimension) != (self._snapshot, self.dimension):
            self._snapshot, self.dimension = snapshot, dimension
            self._opened = open_snapshot(db, snapshot) if snapshot else None
            self._tail = Tail(dimension)
            self._background = None
        self._tail.follow(db, self.space, self._opened.snapshot.last if self._opened else 0)

    def search(self, query: np.ndarray, k: int, *, deeper: int = 1, among: Among | None = None) -> Found:
        """The `k` best for a query (dimension,) float32: of all vectors, or exactly of those `among`.

        `deeper` multiplies the number of probed lists of a large index. Ids may be of vectors that were
        deleted since: the catalog decides.
        """
        found = self._tail.search(query, k, among)
        if self._opened:
            found += self._opened.search(query, k, deeper, among)
        return sorted(found, key=lambda pair: -pair[1])[:k]

    def background(self, db: sqlite3.Connection, query: np.ndarray) -> tuple[np.ndarray, bool]:
        """Inner products (n,) of the query with vectors spread over the space; True where these are all."""
        total = len(self)
        if self._background is None or self._background[0] != total:
            whole = total < 2 * SAMPLE
            sample = self._all(db) if whole else self._sample(total // SAMPLE)
            self._background = (total, sample, whole)
        return self._background[1] @ query, self._background[2]

    def _all(self, db: sqlite3.Connection) -> np.ndarray:
        pieces = [piece.values for piece in vectors(db, self.space, 0)]
        return np.concatenate([np.empty((0, self.dimension), np.float32), *pieces])

    def _sample(self, step: int) -> np.ndarray:
        parts = [self._tail.values[::step]]
        if self._opened and len(self._opened.sample):
            kept = self._opened.sample
            parts.append(kept[:: max(1, round(step * len(kept) / self._opened.snapshot.count))])
        return np.concatenate(parts)

    def __len__(self) -> int:
        return len(self._tail.labels.ids) + (self._opened.snapshot.count if self._opened else 0)


class Tail:
    """The vectors that are newer than the snapshot, in memory."""

    def __init__(self, dimension: int) -> None:
        self.labels = Labels(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8))
        self.values = np.empty((0, dimension), np.float32)

    def follow(self, db: sqlite3.Connection, space: str, after: int) -> None:
        """Read the vectors stored since the last call, and after this id."""
        known = self.labels.ids
        pieces = list(vectors(db, space, int(known[-1]) if len(known) else after))
        if pieces:
            old = self.labels
            self.labels = Labels(
                np.concatenate([old.ids, *(piece.ids for piece in pieces)]),
                np.concatenate([old.assets, *(piece.assets for piece in pieces)]),
                np.concatenate([old.sources, *(piece.sources for piece in pieces)]),
            )
            self.values = np.concatenate([self.values, *(piece.values for piece in pieces)])

    def search(self, query: np.ndarray, k: int, among: Among | None) -> Found:
        """The `k` best of these vectors, compared one by one."""
        ids, scores = self.labels.ids, self.values @ query
        if among:
            chosen = self.labels.among(among.assets, _codes(among.sources))
            ids, scores = ids[chosen], scores[chosen]
        best = np.argsort(-scores, kind="stable")[:k]
        return list(zip(ids[best].tolist(), scores[best].tolist(), strict=True))


@dataclass
class Opened:
    """A snapshot whose file is mapped into memory. Missing or damaged labels are read from the catalog."""

    db: sqlite3.Connection
    snapshot: Snapshot
    index: Any  # faiss.Index: its type stubs know few of its attributes

    @cached_property
    def labels(self) -> Labels:
        """The labels of each vector of the snapshot."""
        read = read_labels(path_of(_file(self.snapshot)), self.snapshot.sha256, self.snapshot.count)
        if read is not None:
            return read
        rows = self.db.execute(
            "SELECT id, asset, source FROM vectors WHERE space = ? AND id <= ?",
            (self.snapshot.space, self.snapshot.last),
        ).fetchall()
        columns = (
            [row[0] for row in rows],
            [row[1] for row in rows],
            [SOURCES.index(row[2]) for row in rows],
        )
        return Labels(*(np.array(column, dtype=np.int64) for column in columns))

    @cached_property
    def sample(self) -> np.ndarray:
        """Vectors (n, dimension) spread over the snapshot."""
        read = read_sample(path_of(_file(self.snapshot)), self.snapshot.sha256, self.snapshot.dimension)
        if read is not None:
            return read
        ids = self.labels.ids[:: max(1, len(self.labels.ids) // SAMPLE)].tolist()
        rows = self.db.execute(
            f"SELECT value FROM vectors WHERE id IN (SELECT value FROM json_each(?)) AND {SIZED}",
            (json.dumps(ids), VALUE_BYTES * self.snapshot.dimension),
        ).fetchall()
        values = (
            decoded([row[0] for row in rows]) if rows else np.empty((0, self.snapshot.dimension), np.float32)
        )
        finite: np.ndarray = values[np.isfinite(values).all(axis=1)]
        return finite

    def search(self, query: np.ndarray, k: int, deeper: int, among: Among | None) -> Found:
        """The `k` best of the snapshot's vectors."""
        faiss: Any = import_module("faiss")
        if not self.index.ntotal:
            return []
        selector = None
        if among:
            chosen = self._ids(among)
            k = min(k, len(chosen))
            if not k:
                return []
            selector = faiss.IDSelectorBitmap(_bitmap(chosen))
        if not self.snapshot.probes:
            parameters = faiss.SearchParameters(sel=selector)
        else:
            # The lists nearest to the query may hold none of the chosen vectors, and testing whether a
            # vector is one of them is cheap beside comparing it.
            lists = self.index.nlist if among else min(self.snapshot.probes * deeper, self.index.nlist)
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=lists)
        scores, ids = self.index.search(query[None, :], min(k, self.index.ntotal), params=parameters)
        return [(id, score) for id, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True) if id >= 0]

    def _ids(self, among: Among) -> np.ndarray:
        return self.labels.ids[self.labels.among(among.assets, _codes(among.sources))]


def open_snapshot(db: sqlite3.Connection, snapshot: Snapshot) -> Opened | None:
    """The snapshot, open; None where its file is damaged or was replaced since its description was read.

    The catalog has every vector, and `mediaflow doctor` makes the file again.
    """
    import faiss

    path = _file(snapshot)
    try:
        if digest(path, HEAD) != snapshot.head:
            return None
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    except (OSError, RuntimeError):
        return None
    if (index.ntotal, index.d) != (snapshot.count, snapshot.dimension):
        return None
    return Opened(db, snapshot, index)


def _file(snapshot: Snapshot) -> Path:
    return space_folder(snapshot.space) / snapshot.file


def _codes(sources: Collection[str]) -> np.ndarray:
    return np.array([SOURCES.index(source) for source in sources], dtype=np.int8)


def _bitmap(ids: np.ndarray) -> np.ndarray:
    """A bit for each id up to the largest, set for these."""
    bits = np.zeros(int(ids.max()) + 1, dtype=bool)
    bits[ids] = True
    return np.packbits(bits, bitorder="little")
