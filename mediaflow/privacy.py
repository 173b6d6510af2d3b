"""Privacy: what mediaflow makes is for its owner only. Findings say what is in somebody's photos."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mediaflow.settings import home

_usual: int | None = None


def keep_private() -> None:
    """Have all files that this process and its children make readable by their owner only, and the home too.

    Call it once, at the start of a process, before it makes anything. It makes no home: help, a dry run and
    a misspelt MEDIAFLOW_HOME leave nothing behind.
    """
    global _usual
    _usual = os.umask(0o077)
    folder = home()
    with suppress(OSError):  # another's folder, which this user may use: its rights are theirs to set
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)


@contextmanager
def as_usual() -> Iterator[None]:
    """Files that a person asked for elsewhere get the rights that this person's files have."""
    mask = os.umask(0o077 if _usual is None else _usual)
    try:
        yield
    finally:
        os.umask(mask)
