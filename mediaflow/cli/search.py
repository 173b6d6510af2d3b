"""`mediaflow search`: ask in words or by example."""

from __future__ import annotations

import io
import sys
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mediaflow.cli.output import note, print_json

if TYPE_CHECKING:
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
    query: Annotated[str, typer.Argument(help="Words; - reads a query a line.")] = "",
    image: Annotated[
        str | None, typer.Option(metavar="FILE", help="What looks like this image file.")
    ] = None,
    like: Annotated[str | None, typer.Option(metavar="PATH", help="What looks like this known file.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only files of this kind.")] = None,
    where: Annotated[Where | None, typer.Option("--in", help="Look only here.")] = None,
    safe: Annotated[bool, typer.Option("--safe", help="Only what was found safe for work.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Not older than 2024, 2024-05 or 2024-05-31.")
    ] = None,
    library: Annotated[str, typer.Option(help="The library.")] = "default",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many results.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Find files by what they show, what is written on them, what was said, or their name."""
    from mediaflow.catalog.database import catalog_path, connect
    from mediaflow.search.engine import Searcher
    from mediaflow.search.request import Request

    request = Request(
        text=query,
        image=image,
        like=like,
        kind=kind.value if kind else None,
        where=where.value if where else None,
        safe=safe,
        since=_seconds(since),
        library=library,
        limit=limit,
    )
    if not catalog_path().exists():
        note("Nothing was submitted yet: mediaflow submit --wait FOLDER")
    with closing(connect()) as db:
        searcher = Searcher(db)
        if query == "-":
            _batch(searcher, request)
            return
        answer = searcher.search(request)
        for warning in answer.warnings:
            note(warning)
        results = answer.results
        if json:
            print_json([result.as_json() for result in results])
        else:
            from mediaflow.cli.results import print_results

            print_results(results, query)


def _batch(searcher: Searcher, request: Request) -> None:
    """Answer each line of standard input; empty lines ask nothing.

    A line that cannot be asked is told, and the next one is answered; the exit status is 2 then.
    """
    from dataclasses import replace

    from mediaflow.errors import UsageError

    told: set[str] = set()
    wrong = False
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a line need not be text
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            line_request = replace(request, text=line.strip())
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


def _seconds(date: str | None) -> float | None:
    """The begin of a year, month or day, in Unix seconds."""
    if date is None:
        return None
    from datetime import datetime

    from mediaflow.errors import UsageError

    for form in ("%Y-%m-%d", "%Y-%m", "%Y"):
        try:
            return datetime.strptime(date, form).astimezone().timestamp()
        except ValueError:
            continue
    raise UsageError(f"{date!r} is no date. Write 2024, 2024-05 or 2024-05-31.")


commands = [search]
