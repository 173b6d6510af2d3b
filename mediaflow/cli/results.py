"""How search results look: a table with clickable paths, and why each was found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mediaflow.cli.output import console, path_text, timecode
from mediaflow.names import readable
from mediaflow.search.request import Match, Result
from mediaflow.search.words import mark

if TYPE_CHECKING:
    from rich.text import Text

AROUND = 160  # characters of a passage
BOLD = ("\x00", "\x01")


def print_results(results: list[Result], query: str) -> None:
    """Results with score, path and the reasons, for a person."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mediaflow.cli.thumbnails import print_thumbnails, terminal_shows_pictures

    if not results:
        print("Nothing was found.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("", justify="right")
    table.add_column("score", justify="right")
    table.add_column("file, and why", overflow="fold", ratio=1)
    for number, result in enumerate(results, 1):
        why = Text("\n").join(
            [path_text(result.path), *(_reason(match, query) for match in result.matches[:2])]
        )
        table.add_row(str(number), f"{result.score:.2f}", why)
    console().print(table)
    if terminal_shows_pictures():
        print_thumbnails(results)


def _reason(match: Match, query: str) -> Text:
    from rich.text import Text

    place = {"image": "shows it", "ocr": "written", "speech": "said", "name": "name"}[match.where]
    if match.page is not None:
        place += f", page {match.page}"
    if match.start is not None:
        place += f" at {timecode(match.start)}"
    text = Text(f"  {place}", style="dim")
    if match.text:
        text.append(": ")
        text.append(_passage(match.text, query))
    return text


def _passage(passage: str, query: str) -> Text:
    """The part of a passage around the hit, with the query's words marked."""
    from rich.text import Text

    flat = readable(" ".join(passage.split()))
    marked = mark(flat, query, *BOLD)
    first = max(0, marked.find(BOLD[0]))
    start = 0 if len(flat) <= AROUND else max(0, min(first - AROUND // 3, len(marked) - AROUND))
    part = marked[start : start + AROUND + 2 * marked.count(BOLD[0], start, start + AROUND)]
    text = Text("…" if start else "")
    bold = False
    for piece in _split(part):
        if piece in BOLD:
            bold = piece == BOLD[0]
            if not sys.stdout.isatty():
                text.append("[" if bold else "]")
        else:
            text.append(piece, style="bold" if bold else "")
    if start + len(part) < len(marked):
        text.append("…")
    return text


def _split(marked: str) -> list[str]:
    """The text cut at the marks, which are kept."""
    pieces = [""]
    for letter in marked:
        if letter in BOLD:
            pieces += [letter, ""]
        else:
            pieces[-1] += letter
    return [piece for piece in pieces if piece]
