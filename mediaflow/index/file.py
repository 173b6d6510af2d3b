"""The file of a snapshot: written whole or not at all, and known by checksums."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import faiss

# A reader checks this much of a file: all of an exact one, and of an inverted one all but the codes, in
# which a wrong byte costs a little of one vector's score. FAISS trusts the sizes and pointers in a damaged
# file, up to the memory of the machine.
HEAD = 64 * 1024 * 1024  # bytes; SHA-256 of it takes 0.04 s
_CHUNK = 1 << 20


def write(index: faiss.Index, path: Path) -> tuple[str, str]:
    """Write an index to `path` and have it on the disk; returns its SHA-256, and that of its HEAD.

    Raises OSError. FAISS writing by itself does not notice when the disk is full at the last bytes.
    """
    import faiss

    whole, head, written = hashlib.sha256(), hashlib.sha256(), 0

    with path.open("wb", buffering=0) as file:

        def take(piece: bytes) -> None:
            nonlocal written
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
            whole.update(piece)
            head.update(piece[: max(0, HEAD - written)])
            written += len(piece)

        faiss.write_index(index, faiss.PyCallbackIOWriter(take, _CHUNK))  # type: ignore[attr-defined]
        os.fsync(file.fileno())
    return whole.hexdigest(), head.hexdigest()


def digest(path: Path, size: int | None = None) -> str:
    """The SHA-256 of a file, or of its first `size` bytes; raises OSError."""
    sum = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_CHUNK if size is None else min(_CHUNK, size)):
            sum.update(piece)
            size = None if size is None else size - len(piece)
    return sum.hexdigest()


def sync(path: Path) -> None:
    """Sync a written file to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
