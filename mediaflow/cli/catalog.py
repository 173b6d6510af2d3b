"""The commands that read and change the catalog: `show`, `runs`, `forget`, `index rebuild`."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from mediaflow.cli.arguments import Json, Library, scope_of
from mediaflow.cli.output import note, print_json, print_table
from mediaflow.names import absolute_path, readable

index_app = typer.Typer(help="Maintain the search index.", no_args_is_help=True)


def show(path: Annotated[str, typer.Argument(help="A file that was submitted.")], json: Json = False) -> None:
    """Show all that is known of a file."""
    from mediaflow.catalog import locations
    from mediaflow.catalog.database import connect
    from mediaflow.cli.show import print_description
    from mediaflow.errors import UsageError
    from mediaflow.ops.show import describe, forms_of, locations_of, why_unknown

    absolute = absolute_path(path)
    with closing(connect()) as db:
        known = (locations.of_path(db, form) for form in forms_of(absolute))
        location = next((each for each in known if each is not None), None)
        if location is None:
            raise UsageError(why_unknown(absolute))
        answer = describe(db, location)
        answer["locations"] = locations_of(db, location)
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
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files or folders.")],
    gone: Annotated[bool, typer.Option("--gone", help="Only files that are not there any more.")] = False,
    library: Library = "default",
    json: Json = False,
) -> None:
    """Take files out of the catalog and the search. Originals are never touched."""
    from mediaflow.catalog.database import connect
    from mediaflow.errors import UsageError
    from mediaflow.ops.forget import forget as let_go

    with closing(connect()) as db:
        result = let_go(db, scope_of(paths, library), only_gone=gone)
    if json:
        print_json({"locations": result.locations, "assets": result.assets})
    elif not result.locations and not gone:
        raise UsageError(
            f"Nothing of {', '.join(readable(path) for path in paths)} is known in library {library}."
        )
    else:
        note(f"Forgot {result.locations:,} files; {result.assets:,} of them were nowhere else.")


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
