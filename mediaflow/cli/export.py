"""`mediaflow export`: all findings as JSON lines, or the subtitles of recordings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediaflow.cli.arguments import Library, Paths, scope_of
from mediaflow.cli.output import counted, note, print_json
from mediaflow.names import absolute_path, readable

if TYPE_CHECKING:
    import sqlite3

    from mediaflow.catalog.locations import Scope


class Format(StrEnum):
    jsonl = "jsonl"
    srt = "srt"
    vtt = "vtt"


def export(
    paths: Paths = None,
    format: Annotated[
        Format, typer.Option(help="jsonl: all findings, a file on each line. srt, vtt: subtitles.")
    ] = Format.jsonl,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="The folder for subtitles, a file for each recording.")
    ] = None,
    library: Library = "default",
) -> None:
    """Write all findings, or the subtitles of recordings."""
    from mediaflow.catalog.database import connect
    from mediaflow.cli.absence import check_library, explain_absence
    from mediaflow.errors import UsageError
    from mediaflow.ops.show import describe_all

    if out is not None and format is Format.jsonl:
        raise UsageError("--out is for subtitles. Findings: mediaflow export > findings.jsonl")
    folder = None if out is None else Path(absolute_path(out))
    scope = scope_of(paths, library)
    with closing(connect()) as db:
        check_library(db, library)
        if absence := explain_absence(db, scope):
            note(absence)
        elif format is Format.jsonl:
            for description in describe_all(db, scope):
                print_json(description)
        elif folder is None:
            _print_subtitles(db, scope, format)
        else:
            _write_subtitles(db, scope, format, folder)


def _print_subtitles(db: sqlite3.Connection, scope: Scope, format: Format) -> None:
    """The subtitles of one recording: those of several in one file would have the times of neither."""
    from mediaflow.errors import UsageError

    found: dict[str, str] = {}
    for description, text in _subtitles(db, scope, format):
        found[description["asset"]] = text
        if len(found) > 1:
            raise UsageError("Several recordings have subtitles: name one, or write a file each: --out DIR")
    if not found:
        _say_none(scope)
    for text in found.values():
        sys.stdout.write(text)


def _write_subtitles(db: sqlite3.Connection, scope: Scope, format: Format, out: Path) -> None:
    """A file for each recording; one that cannot be written is told, and costs no other."""
    from mediaflow.ops.subtitle_files import make_folder, write

    make_folder(out)
    written = failed = 0
    for description, text in _subtitles(db, scope, format):
        path = readable(description["path"])
        try:
            made = write(out, description["path"], f"{description['asset'][:8]}.{format}", text)
        except OSError as error:
            failed += 1
            note(f"{path} has no subtitles written: {error.strerror or error}.")
        else:
            written += 1
            note(f"{path} → {readable(str(made))}")
    if failed:
        note(f"{counted(written, 'file')} written, {failed:,} failed.")
        raise typer.Exit(1)
    if not written:
        _say_none(scope)


def _subtitles(db: sqlite3.Connection, scope: Scope, format: Format) -> Iterator[tuple[dict[str, Any], str]]:
    from mediaflow.media import subtitles
    from mediaflow.ops.show import describe_all

    text_of = subtitles.srt if format is Format.srt else subtitles.vtt
    for description in describe_all(db, scope):
        segments = description["findings"].get("transcribe", {}).get("segments")
        if segments:
            yield description, text_of(segments)


def _say_none(scope: Scope) -> None:
    where = ", ".join(readable(os.fsdecode(root)) for root in scope.roots) or (
        f"library '{readable(scope.library)}'"
    )
    note(f"No subtitles in {where}: no speech was found, or the task `transcribe` is not done.")


commands = [export]
epilogs = {
    export: """\b
Exit status:
  0  everything was written
  1  some files could not be written; each is named with the reason
  2  wrong usage, for example --out that is not a folder
  3  the catalog cannot be read, or the disk is full
"""
}
