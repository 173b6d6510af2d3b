"""The API key of the market: from a variable, or a file that only its owner can read; shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path

from mediaflow.errors import UsageError
from mediaflow.settings import home

VARIABLE = "VAST_API_KEY"


class KeyMissing(UsageError):
    """There is no API key, or not one that may be used."""


def key_path() -> Path:
    """The file in which the key may be."""
    return home() / "vast_api_key"


def read_key() -> str:
    """The key. Raises KeyMissing, saying what to do, where there is none or others can read its file."""
    if key := os.environ.get(VARIABLE, "").strip():
        return key
    path = key_path()
    try:
        status = path.stat()
        if status.st_mode & 0o077:
            raise KeyMissing(
                f"{path} can be read by others (mode {status.st_mode & 0o777:o}): `chmod 600` it, and make"
                " a new key at Vast.ai if others use this machine."
            )
        if status.st_uid != os.geteuid():
            raise KeyMissing(f"{path} belongs to another user: it must be yours.")
        key = path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        raise KeyMissing(
            f"There is no API key of Vast.ai: set {VARIABLE}, or write it into {path} (mode 600)."
        ) from None
    except OSError as error:
        raise KeyMissing(f"{path} cannot be read: {error.strerror or error}.") from None
    if not key:
        raise KeyMissing(f"{path} is empty: write the API key of Vast.ai into it.")
    return key


def wrong_mode() -> str | None:
    """What is wrong with the key or its file; None where nothing is."""
    try:
        read_key()
    except KeyMissing as error:
        return str(error)
    return None
