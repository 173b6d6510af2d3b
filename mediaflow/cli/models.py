"""`mediaflow models`: list, fetch and verify model weights."""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from mediaflow.cli.output import byte_size, counted, note
from mediaflow.names import readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediaflow.models.store import OnProgress, Progress

app = typer.Typer(help="List, fetch and verify model weights.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]
_LINE_SECONDS = 10.0


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Show the models of models.yaml, and which of them are here."""
    from mediaflow.models import store
    from mediaflow.models.registry import load_registry

    rows = [
        {
            "name": model.name,
            "task": model.task,
            "default": model.default,
            "installed": store.installed(model.name),
            "size": model.size,
            "licence": model.licence,
            "origin": model.origin,
            "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in model.files],
        }
        for model in load_registry().values()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'MODEL':<22} {'TASK':<11} {'SIZE':>7}  {'HERE':<5} {'DEFAULT':<8} LICENCE")
    for row in rows:
        here, default = ("yes" if row[key] else "no" for key in ("installed", "default"))
        size = byte_size(int(str(row["size"])))
        print(f"{row['name']:<22} {row['task']:<11} {size:>7}  {here:<5} {default:<8} {row['licence']}")


@app.command()
def pull(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Models; those marked default if none.")
    ] = None,
) -> None:
    """Fetch models from their sources and verify them; goes on where it was stopped."""
    from mediaflow.models import store
    from mediaflow.models.registry import find_model, load_registry
    from mediaflow.settings import models_home

    wanted = names or [model.name for model in load_registry().values() if model.default]
    missing = [model for model in map(find_model, wanted) if not store.installed(model.name)]
    if missing:
        size = byte_size(sum(model.size for model in missing))
        note(f"Fetching {counted(len(missing), 'model')}, once: {size}, into {readable(str(models_home()))}")
    try:
        with _shown_progress() as on_progress, _rights():
            pulled = store.pull(wanted, on_progress)
    except KeyboardInterrupt:
        print("Stopped. What came so far is kept: pull again to go on with it.", file=sys.stderr)
        raise typer.Exit(130) from None
    there = f"{counted(len(wanted), 'model')} in {readable(str(models_home()))}"
    print(f"Pulled {', '.join(pulled)}; {there}." if pulled else f"Nothing to pull: {there}.")


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Models; the default ones and all that are here if none."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every file and compare its SHA-256; status 3 when one is missing or wrong."""
    from mediaflow.models import store
    from mediaflow.models.registry import load_registry
    from mediaflow.settings import models_home

    wanted = names or [
        model.name
        for model in load_registry().values()
        if model.default or any((models_home() / model.name / file.name).exists() for file in model.files)
    ]
    problems = store.verify(wanted)
    if as_json:
        print(json.dumps({"ok": not problems, "models": wanted, "problems": problems}, indent=2))
    else:
        for problem in problems:
            print(problem)
        wrong = sorted({problem.partition(":")[0] for problem in problems}, key=wanted.index)
        good = f"{counted(len(wanted), 'model')}: every file is there and has its SHA-256."
        print(f"Run: mediaflow models pull {' '.join(wrong)}" if problems else good)
    if problems:
        raise typer.Exit(3)


def _rights() -> AbstractContextManager[None]:
    """Weights are no secret: outside of a private home, the other users of the machine may read them."""
    from mediaflow.privacy import as_usual
    from mediaflow.settings import home, models_home

    return nullcontext() if models_home().is_relative_to(home()) else as_usual()


@contextmanager
def _shown_progress() -> Iterator[OnProgress]:
    """What to tell of progress to: bars on a terminal, and a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(20), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, console=console) as bars:
        tasks = {}

        def show(progress: Progress) -> None:
            if progress.note:
                bars.console.print(f"{progress.model}: {progress.note}", highlight=False, markup=False)
                return
            key = f"{progress.model}/{progress.file}"
            if key not in tasks:
                tasks[key] = bars.add_task(_short(key), total=progress.total)
            bars.update(tasks[key], completed=progress.done)

        yield show


def _lines() -> OnProgress:
    told: dict[str, float] = {}  # when a file was told of last; never again once it is complete

    def show(progress: Progress) -> None:
        if progress.note:
            print(f"{progress.model}: {progress.note}", file=sys.stderr)
            return
        key, now = f"{progress.model}/{progress.file}", time.monotonic()
        complete = progress.done >= progress.total
        since = now - told.get(key, -math.inf)
        if since < 0 or (since < _LINE_SECONDS and not complete):
            return
        begins = key not in told and progress.done < progress.total / 100
        told[key] = math.inf if complete else now
        there = f"{byte_size(progress.done)} of "
        state = "fetched, " if complete else "fetching " if begins else there
        print(f"{key}: {state}{byte_size(progress.total)}", file=sys.stderr)

    return show


def _short(text: str, width: int = 28) -> str:
    return text if len(text) <= width else "…" + text[1 - width :]
