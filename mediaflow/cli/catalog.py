"""The commands that read and change the catalog: `show`, `runs`, `forget`, `index rebuild`."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from mediaflow.cli.arguments import Json, Library, scope_of
from mediaflow.cli.output import counted, note, print_json, print_table
from mediaflow.names import absolute_path, readable

if TYPE_CHECKING:
    from mediaflow.ops.gone import Doubt

index_app = typer.Typer(help="Maintain the search index.", no_args_is_help=True)

# How many folders a message names.
MAX_REASONS = 4


def show(path: Annotated[str, typer.Argument(help="A file that was submitted.")], json: Json = False) -> None:
    """Show all that is known of a file."""
    from mediaflow.catalog import locations
    from mediaflow.catalog.database import connect
    from mediaflow.cli.show import print_description
    from mediaflow.errors import UsageError
    from mediaflow.ops.show import describe, locations_of, why_unknown

    absolute = absolute_path(path)
    with closing(connect()) as db:
        location = locations.of_path(db, os.fsencode(absolute))
        if location is None:
            raise UsageError(why_unknown(absolute))
        answer = describe(db, location)
        everywhere = locations_of(db, location)
        if len(everywhere) > 1:
            answer["locations"] = everywhere
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
    """Rebuild the search index from the catalog."""
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


commands = [show, runs, forget]
