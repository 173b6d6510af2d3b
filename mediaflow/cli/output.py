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


PIPE_COLUMNS = 100_000  # more than any path has


def print_json(answer: Any) -> None:
    """One JSON value on a line. Paths that are no UTF-8 keep their bytes as \\udcXX escapes."""
    sys.stdout.write(json.dumps(answer) + "\n")


def print_json_array(items: Iterable[Any]) -> None:
    """One JSON array, an element on each line, written while the elements come: there may be many."""
    lead = "["
    for item in items:
        sys.stdout.write(lead + json.dumps(item))
        lead = ",\n"
    sys.stdout.write("[]\n" if lead == "[" else "]\n")


def console(*, error: bool = False, columns: int = PIPE_COLUMNS) -> Console:
    """A rich console on standard output (or error); through a pipe plain, and as wide as `columns`."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else columns
    return Console(stderr=error, highlight=False, width=width, soft_wrap=False)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    right: Sequence[str] = (),
    has_paths: bool = False,
) -> None:
    """A table with a head; `right` names the columns that are figures.

    Through a pipe it fits 80 columns, but for one that has paths: they must not be broken.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    console(columns=PIPE_COLUMNS if has_paths else 80).print(table)


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
    """A date and time of day for a person; empty for none, a question mark for what no calendar has."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "?"


def counted(number: int, noun: str) -> str:
    """A number with its noun in the singular or plural: "1 file", "2,000 files", "0 libraries"."""
    return f"{number:,} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def byte_size(size: int) -> str:
    """A size for a person: 812 B, 3.4 kB, 12 MB."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:,.0f} {unit}"


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


def note(message: str) -> None:
    """A line for the person, beside the answer: on standard error."""
    print(message, file=sys.stderr, flush=True)
