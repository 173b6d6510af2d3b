"""The API key of the market: from a variable, or from a file that only its owner can read. Shown nowhere."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from mediaflow.errors import ConfigError
from mediaflow.settings import home

VARIABLE = "VAST_API_KEY"
# What may stand in a header: whatever else there is, a library's error could repeat it.
_FORM = re.compile(r"[\x21-\x7e]{1,512}")
_LARGEST = 4096  # bytes


def key_path() -> Path:
    """The file of the key."""
    return home() / "vast_api_key"


def without_key(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a process that has no use for the key."""
    return {name: value for name, value in environment.items() if name != VARIABLE}


def api_key() -> str:
    """The key. Raises ConfigError where there is none, or others could read it; no message holds it."""
    given = os.environ.get(VARIABLE, "").strip()
    origin = f"The variable {VARIABLE}" if given else str(key_path())
    key = given or _read(key_path())
    if not _FORM.fullmatch(key):
        raise ConfigError(f"{origin} holds no API key: one line of letters, figures and signs.")
    return key


def _read(path: Path) -> str:
    try:
        # Whoever put a link there could have mediaflow read, and send away, another file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ConfigError(
            f"There is no API key for Vast.ai: set the variable {VARIABLE}, or write the key into {path} "
            "and make it readable by you only (chmod 600)."
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(
                f"{path} is a link, and the API key is read from a plain file: put the key itself there, "
                "readable by you only (chmod 600)."
            ) from None
        raise ConfigError(f"{path} cannot be read: {error.strerror}. It must be a file of yours.") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigError(f"{path} is not a file of yours: the API key is not read from it.")
        if found.st_mode & 0o077:
            raise ConfigError(
                f"{path} can be read by others: chmod 600 {path}, and change the key at Vast.ai."
            )
        return os.read(descriptor, _LARGEST).decode("utf-8", "replace").strip()
    finally:
        os.close(descriptor)
