"""Originals: files that nobody vouches for, opened once, beneath the root that was submitted."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

from mediaflow.errors import MediaError
from mediaflow.media.content import unreadable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# NONBLOCK: a pipe that somebody puts in a file's place must not hold the process that opens it.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_BUFFER = 1 << 18


def open_original(path: bytes, root: bytes | None = None) -> BinaryIO:
    """The regular file at the absolute `path`, open for reading.

    No link below `root` is followed, so the file is one of the root's; the root itself may be reached
    by links. Without `root` the file was named itself, and links to it are followed. Raises MediaError
    where the path leads out of its root, is no regular file or cannot be opened.
    """
    root = path if root is None else root
    below = _below(path, root)
    try:
        descriptor = _descend(root, below) if below else os.open(path, _FILE)
    except OSError as error:
        raise _refusal(error) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MediaError("not a file that can be read: a folder, a pipe or a device")
    return os.fdopen(descriptor, "rb", buffering=_BUFFER)


def state(file: BinaryIO) -> tuple[int, int]:
    """Size in bytes and modification time in ns of an open file: other values are other content."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _below(path: bytes, root: bytes) -> list[bytes]:
    """The names that lead from `root` to `path`; none where they are the same."""
    if path == root:
        return []
    # Of a path beside the root the first name is empty: it is absolute.
    names = path.removeprefix(root.rstrip(b"/") + b"/").split(b"/")
    if {b"", b".", b".."} & set(names):
        raise MediaError("its path leads out of the folder that was submitted")
    return names


def _descend(root: bytes, names: list[bytes]) -> int:
    """The descriptor of the file that `names` lead to from `root`, each opened in the one before."""
    folder = os.open(root, _FOLDER)
    try:
        for name in names[:-1]:
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(names[-1], _FILE | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)


def _refusal(error: OSError) -> MediaError:
    # What a link with NOFOLLOW, and one with DIRECTORY besides, is answered with.
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return MediaError("its path leads through a link, which is not followed", permanent=False)
    if error.errno == errno.ENXIO:
        return MediaError("not a file that can be read: a socket or a device")
    return unreadable(error)
