"""Subtitle files in a folder of the user: safe names, and writing."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from mediaflow.disk import refusal
from mediaflow.errors import UsageError
from mediaflow.names import readable
from mediaflow.privacy import as_usual

MAX_BYTES = 255  # of a name, on most file systems
# Characters that FAT, NTFS and network shares of them do not allow in names.
RESERVED = frozenset('<>:"/\\|?*')
# With these errors, no other file can be written either.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def make_folder(folder: Path) -> None:
    """Make the folder where there is none. Raises UsageError, with the reason, where it cannot be used."""
    try:
        with as_usual():
            folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except FileExistsError:
        raise _unusable(folder, "it is a file, not a folder") from None
    except OSError as error:
        if error.errno in FULL:
            raise refusal(folder, error) from error
        raise _unusable(folder, error.strerror or str(error)) from None


def write(folder: Path, source: str, ending: str, text: str) -> Path:
    """Write `text` to a file named after the file `source`; the path. Whole, or not at all.

    Raises StorageError where the disk takes no more, OSError where this one file cannot be written.
    """
    path = folder / name_of(source, ending, _max_bytes(folder))
    partial = folder / f".{ending}.partial"
    try:
        with as_usual():
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        if error.errno in FULL:
            raise refusal(path, error) from error
        raise
    return path


def name_of(source: str, ending: str, limit: int = MAX_BYTES) -> str:
    """A file name that every file system takes: the stem of `source`, a dot and `ending`.

    At most `limit` bytes, cut between characters. The ending holds part of the hash, which keeps
    recordings of the same name apart.
    """
    stem = "".join(
        "_" if letter in RESERVED or not letter.isprintable() else letter for letter in Path(source).stem
    )
    if stem.startswith(("-", ".", " ")):  # an option to a command, a hidden file
        stem = "_" + stem[1:]
    room = limit - len(ending.encode()) - 1
    stem = stem.encode()[:room].decode(errors="ignore")
    return f"{stem.rstrip()}.{ending}"


def _max_bytes(folder: Path) -> int:
    try:
        return min(MAX_BYTES, os.pathconf(folder, "PC_NAME_MAX"))
    except (OSError, ValueError):
        return MAX_BYTES


def _unusable(folder: Path, why: str) -> UsageError:
    return UsageError(f"--out {readable(str(folder))} cannot be used: {why}. Nothing was written.")
