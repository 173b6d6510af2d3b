"""Disks: which one a path is on, what is free there, and what to say when it refuses to be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mediaflow.errors import StorageError

# With less than this left, an error without a reason is taken for a full disk.
NEARLY_FULL = 256 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)


def disk_of(path: Path) -> Path:
    """The place at which the disk that holds `path` is mounted."""
    path = path.absolute()
    while not os.path.ismount(path):
        path = path.parent
    return path


def free_bytes(path: Path) -> int:
    """What may still be written on the disk of `path` by this user, in bytes."""
    status = os.statvfs(disk_of(path))
    return status.f_bavail * status.f_frsize


def refusal(path: Path, error: OSError) -> StorageError:
    """The error for a disk that does not take what was to be written to `path`."""
    if error.errno in _FULL:
        return full(path)
    why = error.strerror or str(error)
    return StorageError(f"{path} cannot be written: {why}. Check the disk {disk_of(path)} and its rights.")


def full(path: Path) -> StorageError:
    """The error for a disk that has no room left for `path`."""
    return StorageError(f"The disk {disk_of(path)} is full: {path} cannot be written. Free some space.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A part that writes at `path`: an OSError in it is raised as StorageError."""
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk: a file's own fsync does not say that it has one."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sync_files(folder: Path) -> None:
    """Have all files of a folder on the disk, and their names."""
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    sync_folder(folder)
