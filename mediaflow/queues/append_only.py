"""The append-only file of the embedded Valkey while it is not running: whether it will be read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from mediaflow.queues.embedded import binary
from mediaflow.settings import home

# What the checker says of a file whose last command is cut short: Valkey leaves that command out.
_CUT_SHORT = ("Expected to read", "Unexpected EOF", "Reached EOF")


def folder() -> Path:
    """Where the embedded Valkey keeps the file's parts."""
    return home() / "valkey" / "appendonlydir"


def leftovers() -> list[Path]:
    """Files that a Valkey which was killed, or whose disk was full, did not finish."""
    return [
        *folder().glob("temp-*"),
        *folder().parent.glob("temp-*"),
        *folder().parent.glob("*.partial"),
    ]


def tidy() -> None:
    """Remove what was not finished."""
    for file in leftovers():
        file.unlink(missing_ok=True)


def damage() -> str | None:
    """Why Valkey would not start with this file; None where it will."""
    manifest = folder() / "appendonly.aof.manifest"
    try:
        lines = manifest.read_text().splitlines()
    except FileNotFoundError:
        # Without a manifest it begins anew, unless there are parts that nobody names.
        return "parts without a list of them" if any(folder().glob("appendonly.aof.*")) else None
    except UnicodeDecodeError:
        return f"{manifest.name} is no text"
    parts = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    if not parts or any(len(part) < 6 or part[0] != "file" for part in parts):
        return f"{manifest.name} names no parts"
    for number, part in enumerate(parts):
        # A part of type h is history, which Valkey removes itself.
        if part[5] != "h" and (wrong := _wrong(folder() / part[1], last=number == len(parts) - 1)):
            return wrong
    return None


def _wrong(path: Path, *, last: bool) -> str | None:
    if not path.exists():
        return f"{path.name} is missing"
    kind = "rdb" if path.suffix == ".rdb" else "aof"
    if kind == "rdb" and path.stat().st_size == 0:
        return f"{path.name} is empty"
    # The server is its own checker under another name.
    done = subprocess.run(
        [f"valkey-check-{kind}", str(path)],
        executable=binary(),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    if done.returncode == 0 or (kind == "aof" and last and any(text in said for text in _CUT_SHORT)):
        return None
    return f"{path.name} is damaged"


def put_aside() -> None:
    """Give the file another name, in the place of the last one that was put aside."""
    aside = folder().with_name("appendonlydir.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    folder().rename(aside)
