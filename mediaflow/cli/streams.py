"""The standard streams of the command line: what they cannot hold, and what happens when they end.

A closed stream is replaced by /dev/null, a character that the encoding of the stream lacks is
escaped, and an error of standard output is told apart from an error of the disk that holds the catalog.
"""

from __future__ import annotations

import io
import locale
import os
import sys
from typing import Any, TextIO

from mediaflow.errors import MediaflowError


class OutputError(MediaflowError):
    """Standard output cannot be written, for example because its disk is full."""

    exit_status = 1


class ReaderGone(Exception):
    """The reader of standard output has ended, like `head` in `mediaflow list | head`."""


class _Output(io.FileIO):
    def write(self, data: Any) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
            _discard(self.fileno())
            raise ReaderGone from None
        except OSError as error:
            _discard(self.fileno())
            raise OutputError(f"Standard output cannot be written: {error.strerror or error}.") from None


class _Messages(io.FileIO):
    def write(self, data: Any) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            return len(data)  # nowhere to say so, and no reason to stop the work


def prepare() -> None:
    """Replace standard output and error by streams that follow the rules of this module.

    To be called once, at the start of a process. Where the locale is not UTF-8, Python is started
    again in UTF-8 mode: file names are bytes that mediaflow reads as UTF-8 in every locale.
    """
    if not sys.flags.utf8_mode and sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"  # for the processes that this one starts
        os.environ.setdefault("PYTHONIOENCODING", f"{locale.getencoding()}:backslashreplace")
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for number in range(3):
        _open_if_closed(number)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    # Lines keep their bytes, see `decoded`.
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr)


def decoded(argument: str) -> str:
    """Words of a person as text: in UTF-8, else in the encoding of the locale, else in Latin-1."""
    raw = os.fsencode(argument)
    for encoding in ("utf-8", locale.getencoding()):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def _text(raw: io.FileIO, replaced: TextIO | None) -> TextIO:
    encoding = replaced.encoding if replaced is not None else "utf-8"
    lines = raw.isatty() or raw.fileno() == 2
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=lines)


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _discard(number: int) -> None:
    """Send to /dev/null what is still in the buffers, so that writing it again at exit does not fail."""
    opened = os.open(os.devnull, os.O_WRONLY)
    os.dup2(opened, number)
    os.close(opened)
