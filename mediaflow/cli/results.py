"""How search results look: clickable paths, and why each was found with the hit marked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mediaflow.cli.output import console, path_text, timecode
from mediaflow.names import readable
from mediaflow.search.highlight import mark
from mediaflow.search.request import Match, Result

if TYPE_CHECKING:
    from rich.text import Text

AROUND = 160  # characters of a passage
REASONS = 2
# Characters that no name and no passage holds once it is readable.
OPENING, CLOSING = "\x00", "\x01"
PLACES = {"image": "picture", "ocr": "text", "speech": "speech", "name": "file name"}
# A score estimates the probability of a right result. What is below `SHOWN` is noise to a person, and what
# is below `WEAK` is mostly wrong: docs/search.md.
SHOWN = 0.1
WEAK = 0.3


def print_results(results: list[Result], query: str) -> int:
    """Results for a person: a table with the reasons below each path; a line each in a pipe.

    Those that are too weak are left out. Returns how many are shown.
    """
    strong = [result for result in results if result.score >= SHOWN]
    if not sys.stdout.isatty():
        for result in strong:
            print(f"{result.score:.2f}\t{readable(result.path)}\t{_best_reason(result, query).plain}")
        return len(strong)
    if strong:
        _print_table(strong, query)
        _print_pictures(strong)
    return len(strong)


def _print_pictures(results: list[Result]) -> None:
    from mediaflow.cli.thumbnails import print_thumbnails, terminal_shows_pictures

    if terminal_shows_pictures():
        print_thumbnails(results)


def _print_table(results: list[Result], query: str) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("", justify="right")
    table.add_column("score", justify="right")
    table.add_column("file, and why", overflow="fold", ratio=1)
    for number, result in enumerate(results, 1):
        others = [_reason(match, query) for match in result.matches[1:REASONS]]
        reasons = [_best_reason(result, query), *others]
        table.add_row(str(number), f"{result.score:.2f}", Text("\n").join([path_text(result.path), *reasons]))
    console().print(table)


def is_weak(result: Result) -> bool:
    """Whether a result is to be marked as a weak match."""
    return result.score < WEAK


def _best_reason(result: Result, query: str) -> Text:
    reason = _reason(result.matches[0], query)
    if is_weak(result):
        reason.append(" (weak match)", style="dim")
    return reason


def _reason(match: Match, query: str) -> Text:
    from rich.text import Text

    place = PLACES[match.where]
    if match.page is not None:
        place += f", page {match.page}"
    if match.start is not None:
        place += f" at {timecode(match.start)}"
    text = Text(place, style="dim")
    if match.text:
        text.append(": ")
        text.append(_passage(match.text, query))
    return text


def _passage(passage: str, query: str) -> Text:
    """The part of a passage around the first hit, with the query's words marked."""
    from rich.text import Text

    flat = readable(" ".join(passage.split()))
    first = max(0, mark(flat, query, OPENING, CLOSING).find(OPENING))
    start = max(0, min(first - AROUND // 3, len(flat) - AROUND))
    part = mark(flat[start : start + AROUND], query, OPENING, CLOSING)
    text = Text("…" if start else "")
    text.append(_styled(part))
    if start + AROUND < len(flat):
        text.append("…")
    return text


def _styled(marked: str) -> Text:
    """The marks as bold on a terminal, as [ and ] elsewhere."""
    from rich.text import Text

    text = Text()
    for piece in marked.split(OPENING):
        hit, closing, rest = piece.partition(CLOSING)
        if not closing:
            text.append(hit)
            continue
        text.append(hit if sys.stdout.isatty() else f"[{hit}]", style="bold")
        text.append(rest)
    return text
