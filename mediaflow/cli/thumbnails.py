"""Thumbnails in terminals that can show pictures: the protocols of kitty and of iTerm2."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mediaflow.media.cache import thumbnail_path
from mediaflow.search.request import Result

ROWS = 6  # of the terminal
CHUNK = 4096  # characters of one escape sequence, by kitty's protocol


def terminal_shows_pictures() -> bool:
    """Whether standard output is a terminal that says it can show pictures."""
    return sys.stdout.isatty() and _protocol() is not None


def _protocol() -> str | None:
    if os.environ.get("TMUX") or os.environ.get("STY"):
        return None  # a multiplexer swallows the pictures
    if os.environ.get("KITTY_WINDOW_ID") or os.environ.get("TERM_PROGRAM") == "ghostty":
        return "kitty"
    if os.environ.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm", "vscode") or os.environ.get(
        "KONSOLE_VERSION"
    ):
        return "iterm"
    return None


def print_thumbnails(results: Sequence[Result]) -> None:
    """Print the results' thumbnails in a row, each under its number."""
    for number, result in enumerate(results, 1):
        path = thumbnail_path(result.asset)
        if path.exists():
            sys.stdout.write(f"{number}: ")
            sys.stdout.write(picture(path) + "\n")
    sys.stdout.flush()


def picture(path: Path) -> str:
    """The escape sequences that show an image file, ROWS rows high."""
    from PIL import Image

    with Image.open(path) as image:
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    if _protocol() == "iterm":
        return f"\x1b]1337;File=inline=1;height={ROWS};preserveAspectRatio=1:{data}\x07"
    parts = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    heads = [f"a=T,f=100,r={ROWS}," if not at else "" for at in range(len(parts))]
    more = [int(at < len(parts) - 1) for at in range(len(parts))]
    return "".join(
        f"\x1b_G{head}m={m};{part}\x1b\\" for head, m, part in zip(heads, more, parts, strict=True)
    )
