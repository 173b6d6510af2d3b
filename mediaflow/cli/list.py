"""`mediaflow list`: the files and the libraries that are known."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediaflow.cli.arguments import Json, Library, Paths, scope_of
from mediaflow.cli.output import (
    byte_size,
    console,
    note,
    path_text,
    print_json_array,
    print_table,
    timecode,
    when,
)
from mediaflow.cli.search import Kind
from mediaflow.names import readable

if TYPE_CHECKING:
    import sqlite3

    from mediaflow.catalog.listing import Listed


class State(StrEnum):
    done = "done"
    failed = "failed"
    queued = "queued"
    skipped = "skipped"
    gone = "gone"


def list_files(
    paths: Paths = None,
    library: Library = "default",
    libraries: Annotated[
        bool, typer.Option("--libraries", help="List the libraries instead of files.")
    ] = False,
    kind: Annotated[Kind | None, typer.Option(help="Only files of this kind.")] = None,
    state: Annotated[State | None, typer.Option(help="Only files in this state.")] = None,
    warnings: Annotated[
        bool, typer.Option("--warnings", help="Only files that were analysed in part.")
    ] = False,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Taken (or last modified) on or after DATE.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Taken (or last modified) on or before DATE.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="How many files at most.", show_default="all")
    ] = None,
    json: Json = False,
) -> None:
    """List the known files, or the libraries. With PATH, only what is there."""
    from mediaflow.catalog.database import connect
    from mediaflow.catalog.listing import Filter, files
    from mediaflow.cli.absence import check_library, explain_absence
    from mediaflow.cli.dates import period

    first, end = period(since, until)
    with closing(connect()) as db:
        if libraries:
            _list_libraries(db, json)
            return
        check_library(db, library)
        scope = scope_of(paths, library)
        only = Filter(kind.value if kind else None, state.value if state else None, first, end, warnings)
        found = _Counted(islice(files(db, scope, only), limit))
        if json:
            print_json_array(_as_json(file) for file in found)
        else:
            for file in found:
                _print_file(file)
        if not found.number:
            note(explain_absence(db, scope) or f"No file in library '{readable(library)}' is like that.")


class _Counted:
    """Files that are counted while they pass: there may be too many to hold."""

    def __init__(self, files: Iterable[Listed]) -> None:
        self._files = iter(files)
        self.number = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Listed:
        file = next(self._files)
        self.number += 1
        return file


def _as_json(file: Listed) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(file)


def _print_file(file: Listed) -> None:
    kind, trouble = file.kind or "", readable(" ".join((file.reason or file.warning or "").split()))
    length = timecode(file.seconds) if file.seconds is not None else ""
    facts = [file.state, kind, when(file.date)[:10], byte_size(file.size), length]
    if not sys.stdout.isatty():
        print("\t".join([readable(file.path), *facts, ",".join(file.tasks), trouble]))
        return
    state, kind, date, size, length = facts
    lead = f"{state:<7} {kind:<5} {date:<10} {size:>7} {length:>7}  "
    console().print(lead, path_text(file.path), sep="", soft_wrap=True)
    if trouble:
        console().print(f"        {trouble}", markup=False)


def _list_libraries(db: sqlite3.Connection, json: bool) -> None:
    from dataclasses import asdict

    from mediaflow.catalog.listing import libraries
    from mediaflow.cli.absence import NOTHING_SUBMITTED

    known = libraries(db)
    if json:
        print_json_array(asdict(library) for library in known)
    elif known:
        figures = ["files", "done", "failed", "queued", "skipped", "gone", "size"]
        rows = [
            [
                readable(each.library),
                *(f"{getattr(each, figure):,}" for figure in figures[:-1]),
                byte_size(each.bytes),
            ]
            for each in known
        ]
        print_table(["library", *figures], rows, right=figures)
    if not known:
        note(NOTHING_SUBMITTED)


commands = [list_files]
epilogs = {
    list_files: """\b
Columns through a pipe, separated by tabs:
  path, state, kind, date, size, length, tasks done, reason or warning
With --json, one array with a file on each line.
"""
}
