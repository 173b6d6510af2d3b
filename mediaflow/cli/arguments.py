"""Arguments and options that several commands take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mediaflow.catalog.locations import Scope

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Library = Annotated[str, typer.Option(help="The library.")]
Paths = Annotated[list[str] | None, typer.Argument(metavar="PATH", help="Files or folders; all if none.")]


def scope_of(paths: list[str] | None, library: str) -> Scope:
    """The library, or these paths of it."""
    from mediaflow.catalog.locations import Scope

    roots = (os.fsencode(os.path.abspath(os.path.expanduser(path))) for path in paths or [])
    return Scope(library, tuple(roots))
