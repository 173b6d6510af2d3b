"""`mediaflow search`: ask in words or by example."""

from __future__ import annotations

import sys
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mediaflow.cli.arguments import Json, Library
from mediaflow.cli.output import note, print_json
from mediaflow.cli.streams import decoded

if TYPE_CHECKING:
    import sqlite3

    from mediaflow.search.engine import Searcher
    from mediaflow.search.request import Request


class Kind(StrEnum):
    image = "image"
    video = "video"
    audio = "audio"


class Where(StrEnum):
    image = "image"
    ocr = "ocr"
    speech = "speech"
    name = "name"


def search(
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORDS",
            help="What to look for. With -, reads one query per line from stdin (JSON out).",
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="FILE", help="Find pictures that look like this file.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Find pictures that look like this file, which is already indexed."
        ),
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only files of this kind.")] = None,
    where: Annotated[
        Where | None,
        typer.Option("--in", help="Search only in: pictures, text (ocr), speech, file names."),
    ] = None,
    safe: Annotated[bool, typer.Option("--safe", help="Only files that were found safe for work.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="Taken (or last modified) on or after DATE: 2024, 2024-05 or 2024-05-31.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Taken (or last modified) on or before DATE."),
    ] = None,
    library: Library = "default",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many results at most.")] = 10,
    json: Json = False,
) -> None:
    """Find files by picture, text, speech or name. Give words, --image or --like."""
    from mediaflow.catalog.database import connect
    from mediaflow.cli.dates import period
    from mediaflow.search.engine import Searcher
    from mediaflow.search.request import Request

    words = [decoded(word) for word in query or []]
    first, end = period(since, until)
    request = Request(
        text=" ".join(words),
        image=image,
        like=like,
        kind=kind.value if kind else None,
        where=where.value if where else None,
        safe=safe,
        since=first,
        until=end,
        library=library,
        limit=limit,
    )
    with closing(connect()) as db:
        searcher = Searcher(db)
        if words == ["-"]:
            _batch(searcher, request)
            return
        answer = searcher.search(request)
        for warning in answer.warnings:
            note(warning)
        results = answer.results
        if json:
            print_json([result.as_json() for result in results])
            shown = len(results)
        else:
            from mediaflow.cli.results import is_weak, print_results

            shown = print_results(results, request.text)
            if shown and is_weak(results[0]):
                note("Only weak matches were found: what you look for may not be there.")
        _say_what_is_missing(db, request, shown, len(results) - shown)


def _say_what_is_missing(db: sqlite3.Connection, request: Request, shown: int, weak: int) -> None:
    from mediaflow.catalog.locations import Scope
    from mediaflow.cli.absence import explain_absence, unknown_library
    from mediaflow.cli.output import counted
    from mediaflow.names import readable

    if not shown:
        nothing = f"Nothing found in library '{readable(request.library)}'."
        unknown = unknown_library(db, request.library)
        note(unknown or explain_absence(db, Scope(request.library)) or nothing)
    if weak:
        verb = "is" if weak == 1 else "are"
        note(f"{counted(weak, 'weaker match')} {verb} not shown; --json has all.")


def _batch(searcher: Searcher, request: Request) -> None:
    """Answer each line of standard input; empty lines ask nothing.

    A line that cannot be asked is told, and the next one is answered; the exit status is 2 then.
    """
    from dataclasses import replace

    from mediaflow.errors import UsageError

    told: set[str] = set()
    wrong = False
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            line_request = replace(request, text=decoded(line.strip()))
            answer = searcher.search(line_request)
        except UsageError as error:
            note(f"Line {number}: {error}")
            wrong = True
            continue
        for warning in answer.warnings:
            if warning not in told:
                note(warning)
                told.add(warning)
        results = [result.as_json() for result in answer.results]
        print_json({"query": line_request.text, "results": results})
        sys.stdout.flush()
    if wrong:
        raise typer.Exit(UsageError.exit_status)


commands = [search]
epilogs = {
    search: """\b
Scores: how likely a result is what was asked for, from 0 to 1. Below 0.3 it
is called a weak match; below 0.1 it is not shown, but --json has it.
Words that begin with a dash stand after --: mediaflow search -- -5 degrees

\b
Exit status:
  0  searched, whether something was found or not
  2  wrong usage, for example a library that does not exist
  3  the catalog or a model cannot be used
"""
}
