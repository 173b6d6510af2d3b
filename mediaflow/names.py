"""File names as they may be shown: names are bytes and can hold anything, terminals obey some of it."""

from __future__ import annotations

import os


def readable(path: str | bytes) -> str:
    """The path in printable characters: bytes that are no UTF-8 and control characters are escaped."""
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
