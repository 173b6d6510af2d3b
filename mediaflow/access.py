"""Access rights: the messages for files of another user that this user may not read or write."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from mediaflow.names import readable
from mediaflow.settings import configs, home, models_home


def denial(path: str | bytes | Path) -> str:
    """The message for a path that this user may not use: its owner, and the variable that moves it."""
    path = Path(os.fsdecode(path)).absolute()
    shown = readable(str(path))
    advice = _advice(path)
    return f"{shown} cannot be read or written: permission denied. {_owner(path)}{advice}"


def denied(path: Path) -> bool:
    """Whether this user may not read and write `path`, or the nearest folder above it that exists."""
    for place in (path, *path.parents):
        try:
            place.lstat()
        except FileNotFoundError:
            continue
        except OSError:
            return True
        return not os.access(place, os.R_OK | os.W_OK)
    return False


def _owner(path: Path) -> str:
    for place in (path, *path.parents):
        try:
            number = place.stat().st_uid
        except OSError:
            continue
        if number == os.geteuid():
            return ""
        try:
            name = pwd.getpwuid(number).pw_name
        except KeyError:
            name = f"user {number}"
        whose = "It" if place == path else readable(str(place))
        return f"{whose} belongs to {name}. "
    return ""


def _advice(path: Path) -> str:
    named = {"MEDIAFLOW_MODELS": models_home(), "MEDIAFLOW_HOME": home(), "MEDIAFLOW_CONFIGS": configs()}
    for variable, folder in named.items():
        if path.is_relative_to(folder.absolute()) or folder.absolute().is_relative_to(path):
            return f"Set {variable} to a folder of your own, or have the permissions changed."
    return "Have the permissions changed."
