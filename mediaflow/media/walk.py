"""The walk of a folder tree: what is there, folder by folder, and no file opened."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mediaflow.media.kinds import ending, excluding, hidden_or_system, reason_to_skip
from mediaflow.media.times import OUT_OF_RANGE


class File(NamedTuple):
    """A file that may be a medium: its name in its folder, bytes, modification time in ns."""

    name: bytes
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Folder:
    """One folder and the files in it that may be media, by name.

    `skipped` counts what was passed over by reason, and `endings` those of them that are `unsupported` by
    ending. `errors` are the paths (the folder itself, or an entry) that could not be read, with the reason.
    `excluded_by` holds the exclude patterns that matched. `whole` is false where the listing must not be
    taken for all the folder holds. `root` is how many bytes of its files' paths are the root that was
    named: all of them where that is the file.
    """

    path: bytes
    root: int
    files: list[File] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    errors: list[tuple[bytes, str]] = field(default_factory=list)
    excluded_by: set[str] = field(default_factory=set)
    whole: bool = True

    def fail(self, path: bytes, error: OSError) -> None:
        """Note that `path`, the folder or an entry of it, could not be read."""
        self.errors.append((path, error.strerror or str(error)))
        self.skipped["unreadable"] += 1
        self.whole = False


def walk(
    roots: Sequence[Path | str], exclude: Sequence[str] = (), leave: Collection[bytes] = ()
) -> Iterator[Folder]:
    """The folders below `roots`, one at a time, in order of their names.

    A root may be a file, which is then taken whatever its name. Links are not followed (a root may
    be one), so nothing outside the roots is seen and nothing twice. `exclude` holds globs for names,
    or, with a slash in them, for paths below the root; `leave` holds folders that are not entered.
    What cannot be read, a root too, is in the `errors` of its folder.
    """
    starts = [os.fsencode(os.path.abspath(root)) for root in roots]
    tops = dict.fromkeys(starts)
    for start in tops:
        try:
            status = os.stat(start)
        except OSError as error:
            unreadable = Folder(start, len(start))
            unreadable.fail(start, error)
            yield unreadable
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _below(start, tuple(exclude), {*tops, *leave} - {start})
        elif stat.S_ISREG(status.st_mode):
            folder, name = os.path.split(start)
            yield Folder(folder, len(start), [_file(name, status)], whole=False)
        else:
            special = Folder(start, len(start), skipped=Counter(special=1), whole=False)
            special.errors.append((start, "neither a folder nor a file"))
            yield special


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
                try:
                    _take(entry, below, exclude, folder, inner)
                except FileNotFoundError:
                    continue  # it vanished since the folder was listed
                except OSError as error:
                    folder.fail(entry.path, error)
    except OSError as error:
        folder.whole = False
        if len(path) == root or not isinstance(error, FileNotFoundError):  # else it vanished meanwhile
            folder.fail(path, error)
    folder.files.sort()
    return folder, sorted(inner)


def _take(
    entry: os.DirEntry[bytes], below: str, exclude: tuple[str, ...], folder: Folder, inner: list[bytes]
) -> None:
    """Add one entry of `folder` to its files, to the folders `inner`, or to what is skipped."""
    name = os.fsdecode(entry.name)
    is_folder = entry.is_dir(follow_symlinks=False)
    if exclude and (pattern := excluding(os.path.join(below, name), is_folder, exclude)):
        folder.skipped["excluded"] += 1
        folder.excluded_by.add(pattern)
    elif entry.is_symlink():
        folder.skipped["link"] += 1
    elif reason := hidden_or_system(name):
        folder.skipped[reason] += 1
    elif is_folder:
        inner.append(entry.path)
    elif why := reason_to_skip(name):
        # Its type is known from the listing: most files are skipped without a call for each.
        is_file = entry.is_file(follow_symlinks=False)
        folder.skipped[why if is_file else "special"] += 1
        if is_file and why == "unsupported":
            folder.endings[ending(name) or name.lower()] += 1
    else:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            folder.files.append(_file(entry.name, status))
        else:
            folder.skipped["special"] += 1


def _file(name: bytes, status: os.stat_result) -> File:
    return File(name, status.st_size, min(max(status.st_mtime_ns, OUT_OF_RANGE[0]), OUT_OF_RANGE[1]))
