"""The index of a large space: an inverted file with 8-bit codes, of which a search reads some lists."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mediaflow.index.file import digest
from mediaflow.index.labels import Gathering, Labels, path_of, read_labels, read_sample
from mediaflow.index.vectors import vectors

if TYPE_CHECKING:
    import faiss

    from mediaflow.index.snapshot import Snapshot

WANTED_RECALL = 0.98


def inverted(
    db: sqlite3.Connection, space: str, last: int, dimension: int, count: int, gathering: Gathering
) -> tuple[faiss.Index, float, int]:
    """An inverted file of the space's vectors up to `last`, its recall@10, and the number of lists to probe.

    `gathering` sees every vector once.
    """
    import faiss

    lists = 2 ** round(math.log2(4 * math.sqrt(count)))
    coarse = faiss.IndexFlatIP(dimension)
    kind = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexIVFScalarQuantizer(coarse, dimension, lists, kind, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    sample = _sample(db, space, count, lists * 40)
    index.train(sample)
    for piece in gathering.each(vectors(db, space, 0, last)):
        index.add_with_ids(piece.values, piece.ids)
    recall, probes = _tune(db, space, last, index, sample[:: max(1, len(sample) // 200)][:200])
    return index, recall, probes


def extend_inverted(
    db: sqlite3.Connection, base: Snapshot, path: Path, last: int
) -> tuple[faiss.Index, Gathering] | None:
    """The index of a snapshot with the vectors up to `last` added and the deleted ones removed.

    None where its files are not whole.
    """
    import faiss

    kept = read_labels(path_of(path), base.sha256, base.count)
    sample = read_sample(path_of(path), base.sha256, base.dimension)
    try:
        if kept is None or sample is None or not len(sample) or digest(path) != base.sha256:
            return None
        index: Any = faiss.read_index(str(path))
    except (OSError, RuntimeError):
        return None
    rows = db.execute(
        "SELECT id FROM vectors WHERE space = ? AND id <= ?", (base.space, base.last)
    ).fetchall()
    alive = np.isin(kept.ids, np.array([row[0] for row in rows], dtype=np.int64))
    if not alive.all():
        index.remove_ids(kept.ids[~alive])
    gathering = Gathering(max(1, base.count // len(sample)))
    gathering.begin(Labels(kept.ids[alive], kept.assets[alive], kept.sources[alive]), sample)
    for piece in gathering.each(vectors(db, base.space, base.last, last)):
        index.add_with_ids(piece.values, piece.ids)
    return index, gathering


def _sample(db: sqlite3.Connection, space: str, count: int, size: int) -> np.ndarray:
    """About `size` vectors spread evenly over the space, in random order."""
    step = max(1, count // size)
    # Copied, or each slice would keep the whole piece that it is a view of.
    parts = [piece.values[::step].copy() for piece in vectors(db, space, 0)]
    sample = np.concatenate(parts)
    np.random.default_rng(0).shuffle(sample)
    return sample


def _tune(
    db: sqlite3.Connection, space: str, last: int, index: faiss.IndexIVF, queries: np.ndarray
) -> tuple[float, int]:
    """The measured recall@10 against exact search, and the number of lists to probe for WANTED_RECALL.

    The queries are vectors of the space: each finds itself first, which is not counted. Recall is a little
    lower for other queries, so twice the necessary number of lists is taken.
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
    for piece in vectors(db, space, 0, last):
        scores = np.concatenate([scores, queries @ piece.values.T], axis=1)
        ids = np.concatenate([ids, np.tile(piece.ids, (len(queries), 1))], axis=1)
        best = np.argsort(-scores, axis=1)[:, :k]
        scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
    return ids
