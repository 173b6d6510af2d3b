"""The commands that read and tend the catalog: `show`, `runs`, `failures`, `retry`, `export`, `forget`."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediaflow.cli.output import note, print_item, print_json, print_table, when
from mediaflow.names import readable

if TYPE_CHECKING:
    from mediaflow.catalog.failures import Failure
    from mediaflow.catalog.locations import Scope

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Library = Annotated[str, typer.Option(help="The library.")]
Paths = Annotated[
    list[str] | None, typer.Argument(metavar="[PATH]...", help="Files or folders; all if none.")
]

index_app = typer.Typer(help="Tend the search index.", no_args_is_help=True)


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


def failures(
    paths: Paths = None,
    task: Annotated[str | None, typer.Option(help="Only this task (or prepare).")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with these words in the reason.")] = None,
    library: Library = "default",
    refused: Annotated[
        bool, typer.Option("--refused", help="Jobs that broke the rules, newest first, instead of files.")
    ] = False,
    json: Json = False,
) -> None:
    """List what failed, and why."""
    if refused:
        _print_refused(json)
        return
    found = _failures(paths, task, reason, library)[1]
    if json:
        print_json(
            [
                {"path": f.path, "stage": f.stage, "reason": f.reason, "attempts": f.attempts, "last": f.last}
                for f in found
            ]
        )
        return
    if not found:
        print("Nothing failed.")
        return
    for failure in found:
        print_item(failure.path, f"{failure.stage}: {readable(failure.reason)} ({_outlook(failure)})")


def _outlook(failure: Failure) -> str:
    """How often it was tried, and whether it is tried again."""
    times = "once" if failure.attempts == 1 else f"{failure.attempts} times"
    if failure.due is None:
        return f"tried {times}, given up"
    again = f"again {when(failure.due)}" if failure.due > time.time() else "again now"
    return f"tried {times}, {again}" if failure.attempts else again


def _print_refused(json: bool) -> None:
    from dataclasses import asdict

    from mediaflow.queues.connection import connect
    from mediaflow.queues.refused import count, newest

    with closing(connect()) as connection:
        found, total = newest(connection), count(connection)
    if json:
        print_json([asdict(each) for each in found])
        return
    for each in found:
        print(f"{when(each.when)}  {each.queue}  {each.id}  {each.function}  {each.reason}")
    print(f"{total:,} jobs were refused." if total else "No job was refused.")


def retry(
    paths: Paths = None,
    task: Annotated[str | None, typer.Option(help="Only this task (or prepare).")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with these words in the reason.")] = None,
    library: Library = "default",
    json: Json = False,
) -> None:
    """Enqueue again what failed; `mediaflow up` must be running."""
    from mediaflow.catalog.database import connect as open_catalog
    from mediaflow.ops.retry import retry as enqueue_again
    from mediaflow.queues.connection import connect

    _, found = _failures(paths, task, reason, library)
    if not found:
        if json:
            print_json({"run": None, "failures": 0})
        note("Nothing failed.")
        return
    connection = connect()
    with closing(open_catalog()) as db:
        run = enqueue_again(db, connection, library, found)
    if json:
        print_json({"run": run, "failures": len(found)})
    note(f"Run {run}: {len(found)} failures are tried again. See: mediaflow status --watch")


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
        for description in describe_all(db, _scope(paths, library)):
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
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files or folders.")],
    gone: Annotated[bool, typer.Option("--gone", help="Only files that are not there any more.")] = False,
    library: Library = "default",
    json: Json = False,
) -> None:
    """Take files out of the catalog and the search. Originals are never touched."""
    from mediaflow.catalog.database import connect
    from mediaflow.errors import UsageError
    from mediaflow.ops.forget import forget as let_go

    with closing(connect()) as db:
        result = let_go(db, _scope(paths, library), only_gone=gone)
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


def _failures(
    paths: list[str] | None, task: str | None, reason: str | None, library: str
) -> tuple[Scope, list[Failure]]:
    from mediaflow.catalog.database import connect
    from mediaflow.catalog.failures import failures as listed

    scope = _scope(paths, library)
    with closing(connect()) as db:
        return scope, listed(db, scope, [task] if task else [], reason)


def _scope(paths: list[str] | None, library: str) -> Scope:
    from mediaflow.catalog.locations import Scope

    roots = (os.fsencode(os.path.abspath(os.path.expanduser(path))) for path in paths or [])
    return Scope(library, tuple(roots))


commands = [show, runs, failures, retry, export, forget]
