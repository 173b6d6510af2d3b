"""The commands that read and tend the catalog: `show`, `runs`, `export`, `forget`, `index rebuild`."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediaflow.cli.arguments import Json, Library, Paths, scope_of
from mediaflow.cli.output import counted, note, print_json, print_table
from mediaflow.names import readable

if TYPE_CHECKING:
    from mediaflow.ops.gone import Doubt

index_app = typer.Typer(help="Tend the search index.", no_args_is_help=True)


# How many folders a message names.
MAX_REASONS = 4


class Format(StrEnum):
    jsonl = "jsonl"
    srt = "srt"
    vtt = "vtt"


def show(path: Annotated[str, typer.Argument(help="A file that was submitted.")], json: Json = False) -> None:
    """Show all that is known of a file."""
    from mediaflow.catalog import locations
    from mediaflow.catalog.database import connect
    from mediaflow.cli.show import print_description
    from mediaflow.errors import UsageError
    from mediaflow.ops.show import describe

    absolute = os.path.abspath(os.path.expanduser(path))
    with closing(connect()) as db:
        location = locations.of_path(db, os.fsencode(absolute))
        if location is None:
            raise UsageError(f"{readable(absolute)} is not known. Submit it: mediaflow submit --wait PATH")
        answer = describe(db, location)
    if json:
        print_json(answer)
    else:
        print_description(answer, location)


def runs(limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20, json: Json = False) -> None:
    """List what was submitted, newest first."""
    from mediaflow.catalog.database import connect
    from mediaflow.catalog.runs import newest
    from mediaflow.cli.status import print_runs
    from mediaflow.ops.overview import run_state

    with closing(connect()) as db:
        states = [run_state(db, row) for row in newest(db, limit)]
    if json:
        print_json(states)
        return
    print_runs(states)


def export(
    paths: Paths = None,
    format: Annotated[Format, typer.Option(help="jsonl: all findings. srt, vtt: subtitles.")] = Format.jsonl,
    out: Annotated[Path | None, typer.Option(help="A folder for the subtitle files.")] = None,
    library: Library = "default",
) -> None:
    """Write all findings, or the subtitles of recordings."""
    from mediaflow.catalog.database import connect
    from mediaflow.ops.show import describe_all

    with closing(connect()) as db:
        for description in describe_all(db, scope_of(paths, library)):
            if format is Format.jsonl:
                print_json(description)
            else:
                _export_subtitles(description, format, out)


def _export_subtitles(description: dict[str, Any], format: Format, out: Path | None) -> None:
    from mediaflow.media import subtitles
    from mediaflow.privacy import as_usual

    segments = description["findings"].get("transcribe", {}).get("segments")
    if not segments:
        return
    text = subtitles.srt(segments) if format is Format.srt else subtitles.vtt(segments)
    if out is None:
        sys.stdout.write(text)
        return
    # The hash keeps recordings of the same name in different folders apart.
    name = f"{Path(description['path']).stem}.{description['asset'][:8]}.{format}"
    with as_usual():
        out.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, encoding="utf-8")
    note(f"{readable(description['path'])} → {readable(str(out / name))}")


def forget(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files or folders; with --gone, all if none."),
    ] = None,
    gone: Annotated[
        bool, typer.Option("--gone", help="Only files that have been deleted or moved away.")
    ] = False,
    library: Library = "default",
    json: Json = False,
) -> None:
    """Remove files from the index. Your original files are never changed."""
    from mediaflow.catalog.database import connect
    from mediaflow.errors import UsageError
    from mediaflow.ops.forget import forget as remove
    from mediaflow.ops.forget import forget_gone

    if not paths and not gone:
        raise UsageError("Name the files or folders to remove, or use --gone.")
    with closing(connect()) as db:
        result = (forget_gone if gone else remove)(db, scope_of(paths, library))
    if json:
        print_json({"locations": result.locations, "assets": result.assets})
    elif result.locations or gone:
        copies, verb = counted(result.copies, "copy"), "is" if result.copies == 1 else "are"
        still = f" ({copies} {verb} still indexed elsewhere)" if result.copies else ""
        note(f"Removed {counted(result.locations, 'file')} from the index{still}.")
    else:
        named, verb = ", ".join(map(readable, paths or [])), "is" if len(paths or []) == 1 else "are"
        raise UsageError(f"{named} {verb} not in library {library!r}.")
    if result.kept:
        raise UsageError(_kept(result.kept))


def _kept(kept: Counter[Doubt]) -> str:
    """Which files were kept, why, and the way to remove them."""
    reasons = [
        f"{readable(doubt.folder)} {doubt.reason}: {counted(number, 'file')} kept."
        for doubt, number in kept.most_common(MAX_REASONS)
    ]
    if len(kept) > MAX_REASONS:
        reasons.append(f"The same holds for {counted(len(kept) - MAX_REASONS, 'other folder')}.")
    return f"{' '.join(reasons)} Is its disk mounted? If the files were deleted: mediaflow forget FOLDER"


@index_app.command("rebuild")
def rebuild(json: Json = False) -> None:
    """Make the snapshots of all spaces anew from the catalog."""
    from dataclasses import asdict

    from mediaflow.catalog.database import connect
    from mediaflow.index.snapshot import rebuild as rebuild_all

    with closing(connect()) as db:
        made = rebuild_all(db)
    if json:
        print_json([asdict(snapshot) for snapshot in made])
        return
    rows = [[s.space, f"{s.count:,}", s.dimension, f"{s.recall:.3f}"] for s in made]
    print_table(
        ["space", "vectors", "dimension", "recall@10"], rows, right=["vectors", "dimension", "recall@10"]
    )


commands = [show, runs, export, forget]
