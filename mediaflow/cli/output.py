"""How answers are printed: JSON for scripts, tables for people, and nothing else on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mediaflow.names import readable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def print_json(answer: Any) -> None:
    """One JSON value on a line. Paths that are no UTF-8 keep their bytes as \\udcXX escapes."""
    sys.stdout.write(json.dumps(answer) + "\n")


def console(*, error: bool = False) -> Console:
    """A rich console on standard output (or error); plain and 80 columns wide through a pipe."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    return Console(stderr=error, highlight=False, width=None if stream.isatty() else 80, soft_wrap=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """A table with a head; `right` names the columns that are figures."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    console().print(table)


def path_text(path: str) -> Text:
    """A path that a terminal can open with a click, with whatever is in it made harmless."""
    from rich.text import Text

    text = Text(readable(path), overflow="fold")
    text.stylize(f"link file://{quote(os.fsencode(path))}")
    return text


def print_item(path: str, *lines: str) -> None:
    """A path and what is said of it: below it on a terminal, on the same line, after tabs, in a pipe."""
    if not sys.stdout.isatty():
        print("\t".join([readable(path), *lines]))
        return
    out = console()
    out.print(path_text(path))
    for line in lines:
        out.print(f"  {line}", markup=False)


def when(seconds: float | None) -> str:
    """A time of day for a person; empty for none."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M") if seconds else ""


def duration(seconds: float) -> str:
    """A length of time in two units at most: 42 s, 3 min 20 s, 5 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def timecode(seconds: float) -> str:
    """A position in a recording: 0:07, 12:34, 1:02:03."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def counted(number: int, noun: str) -> str:
    """A number with its noun in the singular or plural: "1 file", "2,000 files", "0 libraries"."""
    return f"{number:,} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def note(message: str) -> None:
    """A line for the person, beside the answer: on standard error."""
    print(message, file=sys.stderr, flush=True)
