"""Paths: from the form that a person types to the form that is safe on a terminal. File names are bytes."""

from __future__ import annotations

import os

from mediaflow.errors import UsageError


def absolute_path(path: str) -> str:
    """The absolute form of a path that a person typed; links are not resolved.

    `~` stands for the home folder unless a file here has that name. Raises UsageError for an empty path,
    which is how an unset shell variable arrives and would otherwise name the current folder.
    """
    if not path:
        raise UsageError("An empty path was given. Is a shell variable unset? Name a file or folder.")
    if path.startswith("~") and not os.path.lexists(path):
        path = os.path.expanduser(path)
    return os.path.abspath(path)


def readable(path: str | bytes) -> str:
    """The path in printable characters: bytes that are not UTF-8 and control characters are escaped."""
    try:
        text = os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # text that was never a path, with half a pair of surrogates
        text = os.fsdecode(path)
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    # The soft hyphen, joiners and other formatting characters are part of real names.
    if ord(letter) in (0xAD, 0x200C, 0x200D, 0x3000, 0xA0):
        return letter
    return letter.encode("unicode_escape").decode("ascii")
