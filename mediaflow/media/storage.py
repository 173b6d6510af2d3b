"""Storage: the disk that renditions are written to, and what it means when it refuses."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mediaflow.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Around what is written for the rendition in `folder`: what goes wrong in it is the disk's fault.

    Raises StorageError in place of every OSError, so that no file is blamed for a full disk.
    """
    try:
        yield
    except OSError as error:
        step = "Free some space" if error.errno in _FULL else "Make it writable"
        raise StorageError(
            f"The renditions in {folder.parent.parent} cannot be written: {error.strerror or error}. "
            f"{step}; the work goes on by itself."
        ) from None


class Output:
    """A file that an encoder writes to. Close it: that says whether all of it was written."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._refusal: StorageError | None = None
        with writing(self._folder):
            self._file = path.open("wb", buffering=0)

    def write(self, data: bytes) -> int:
        try:
            with writing(self._folder):
                rest = memoryview(data)
                while rest:  # a disk that fills takes a part first, and then refuses
                    rest = rest[self._file.write(rest) :]
        except StorageError as error:
            self._refusal = error
            raise
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """Close the file. Raises StorageError also for what the encoder did not hand on."""
        with writing(self._folder):
            self._file.close()
        if self._refusal:
            raise self._refusal
