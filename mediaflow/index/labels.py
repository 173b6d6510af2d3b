"""The labels of a snapshot: the asset and source of each of its vectors, and a sample of the vectors.

They are stored beside the FAISS file, so that a filtered search and the background of a space need not
read the catalog. A search that finds them missing or damaged reads the catalog.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mediaflow.index.vectors import Piece

# Vectors that represent the background of a space.
SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class Labels:
    """For each vector: ids and assets (n,) int64, sources (n,) int8 as in `vectors.SOURCES`."""

    ids: np.ndarray
    assets: np.ndarray
    sources: np.ndarray

    def among(self, assets: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """A mask (n,) bool of the vectors of these assets and sources."""
        return np.isin(self.assets, assets) & np.isin(self.sources, sources)


@dataclass(slots=True)
class Gathering:
    """Collects the labels of a stream of vectors, and every `step`th vector."""

    step: int
    _ids: list[np.ndarray] = field(default_factory=list)
    _assets: list[np.ndarray] = field(default_factory=list)
    _sources: list[np.ndarray] = field(default_factory=list)
    _sample: list[np.ndarray] = field(default_factory=list)
    _seen: int = 0

    def begin(self, labels: Labels, sample: np.ndarray) -> None:
        """Start with the labels and the sample (n, dimension) of earlier vectors."""
        self._ids, self._assets, self._sources = [labels.ids], [labels.assets], [labels.sources]
        self._sample = [sample.astype("<f2")]

    def each(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The same pieces, each collected."""
        for piece in pieces:
            self._ids.append(piece.ids)
            self._assets.append(piece.assets)
            self._sources.append(piece.sources)
            # Copied, or each slice would keep the whole piece that it is a view of.
            self._sample.append(piece.values[-self._seen % self.step :: self.step].astype("<f2"))
            self._seen += len(piece.ids)
            yield piece

    def labels(self) -> Labels:
        """The labels of all collected vectors."""
        return Labels(
            np.concatenate([np.empty(0, np.int64), *self._ids]),
            np.concatenate([np.empty(0, np.int64), *self._assets]),
            np.concatenate([np.empty(0, np.int8), *self._sources]),
        )

    def sample(self, dimension: int) -> np.ndarray:
        """Vectors (n, dimension) float16 spread evenly over all collected ones."""
        return np.concatenate([np.empty((0, dimension), "<f2"), *self._sample])


def path_of(index: Path) -> Path:
    """The file with the labels of a FAISS file."""
    return index.with_suffix(".npz")


def write(path: Path, sha256: str, labels: Labels, sample: np.ndarray) -> None:
    """Write labels and sample to `path`, on the disk; `sha256` is the FAISS file's. Raises OSError."""
    with path.open("wb") as file:
        np.savez(
            file,
            ids=labels.ids,
            assets=labels.assets,
            sources=labels.sources,
            sample=sample,
            sha256=np.array(sha256),
        )
        file.flush()
        os.fsync(file.fileno())


def read_labels(path: Path, sha256: str, count: int) -> Labels | None:
    """The labels of the snapshot whose file has this SHA-256; None where they are missing or damaged."""
    read = _read(path, sha256, ("ids", "assets", "sources"))
    if read is None or any(array.shape != (count,) or array.dtype.kind != "i" for array in read):
        return None
    return Labels(*read)


def read_sample(path: Path, sha256: str, dimension: int) -> np.ndarray | None:
    """The sample (n, dimension) float32 of the snapshot whose file has this SHA-256; None as above."""
    read = _read(path, sha256, ("sample",))
    if read is None or read[0].ndim != 2 or read[0].shape[1] != dimension or read[0].dtype != "<f2":
        return None
    return read[0].astype(np.float32)


def _read(path: Path, sha256: str, names: tuple[str, ...]) -> list[np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as archive:  # a ZIP archive: each member has its checksum
            if str(archive["sha256"]) != sha256:
                return None
            return [archive[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile):
        return None
