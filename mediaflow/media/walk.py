"""The walk of a folder tree: what is there, folder by folder, and no file opened."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mediaflow.errors import UsageError
from mediaflow.media.kinds import hidden_or_system, matches, reason_to_skip
from mediaflow.names import readable


class File(NamedTuple):
    """A file that may be a medium: its name in its folder, bytes, modification time in ns."""

    name: bytes
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Folder:
    """One folder and the files in it that may be media, by name.

    `skipped` counts what was passed over, by reason. `error` says why the folder could not be read
    (to the end). `whole` is false where the listing must not be taken for all the folder holds. `root` is
    how many bytes of its files' paths are the root that was named: all of them where that is the file.
    """

    path: bytes
    root: int
    files: list[File] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    error: str | None = None
    whole: bool = True


def walk(
    roots: Sequence[Path | str], exclude: Sequence[str] = (), leave: Collection[bytes] = ()
) -> Iterator[Folder]:
    """The folders below `roots`, one at a time, in order of their names.

    A root may be a file, which is then taken whatever its name. Links are not followed (a root may
    be one), so nothing outside the roots is seen and nothing twice. `exclude` holds globs for names,
    or, with a slash in them, for paths below the root; `leave` holds folders that are not entered.
    Raises UsageError for a root that is not there.
    """
    starts = [os.fsencode(os.path.abspath(root)) for root in roots]
    tops = dict.fromkeys(starts)
    for start in tops:
        try:
            status = os.stat(start)
        except OSError as error:
            raise UsageError(f"{readable(start)} cannot be read: {error.strerror}.") from None
        if stat.S_ISDIR(status.st_mode):
            yield from _below(start, tuple(exclude), {*tops, *leave} - {start})
        elif stat.S_ISREG(status.st_mode):
            folder, name = os.path.split(start)
            yield Folder(folder, len(start), [File(name, status.st_size, status.st_mtime_ns)], whole=False)
        else:
            raise UsageError(f"{readable(start)} is neither a folder nor a file.")


def _below(root: bytes, exclude: tuple[str, ...], others: set[bytes]) -> Iterator[Folder]:
    """The folders of one root; `others` on the way are not entered: another root has its own turn."""
    waiting = [root]
    while waiting:
        path = waiting.pop()
        if path in others:
            continue
        folder, inner = _read(path, len(root), os.fsdecode(path[len(root) :].lstrip(b"/")), exclude)
        waiting.extend(reversed(inner))
        yield folder


def _read(path: bytes, root: int, below: str, exclude: tuple[str, ...]) -> tuple[Folder, list[bytes]]:
    folder = Folder(path, root)
    inner: list[bytes] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = os.fsdecode(entry.name)
                if exclude and matches(name, os.path.join(below, name), exclude):
                    folder.skipped["excluded"] += 1
                elif entry.is_symlink():
                    folder.skipped["link"] += 1
                elif reason := hidden_or_system(name):
                    folder.skipped[reason] += 1
                elif entry.is_dir(follow_symlinks=False):
                    inner.append(entry.path)
                else:
                    _take(entry, name, folder)
    except OSError as error:
        folder.error = error.strerror or str(error)
        folder.skipped["unreadable"] += 1
        folder.whole = False
    folder.files.sort()
    return folder, sorted(inner)


def _take(entry: os.DirEntry[bytes], name: str, folder: Folder) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return  # it vanished since the folder was listed
    if not stat.S_ISREG(status.st_mode):
        folder.skipped["special"] += 1
    elif reason := reason_to_skip(name, status.st_size):
        folder.skipped[reason] += 1
    else:
        folder.files.append(File(entry.name, status.st_size, status.st_mtime_ns))
