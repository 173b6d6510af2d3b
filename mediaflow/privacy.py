"""Privacy: mediaflow's files, which describe private photos and speech, are readable by their owner only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mediaflow.settings import home

_usual: int | None = None


def keep_private() -> None:
    """Make the home, and all files that this process and its children create, readable by their owner only.

    Call it once, at the start of a process, before it creates a file. It creates no home: help, a dry run and
    a misspelt MEDIAFLOW_HOME leave nothing behind.
    """
    global _usual
    _usual = os.umask(0o077)
    folder = home()
    with suppress(OSError):  # another user's folder: its rights are not ours to change
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)


@contextmanager
def as_usual() -> Iterator[None]:
    """Files that a person asked for elsewhere get the usual rights of this person's files."""
    mask = os.umask(0o077 if _usual is None else _usual)
    try:
        yield
    finally:
        os.umask(mask)
