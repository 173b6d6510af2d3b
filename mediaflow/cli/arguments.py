"""Arguments and options that several commands take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from mediaflow.names import absolute_path

if TYPE_CHECKING:
    from mediaflow.catalog.locations import Scope


def _not_empty(value: str) -> str:
    if not value.strip():
        raise typer.BadParameter("it is empty. Is a shell variable unset?")
    return value


Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Library = Annotated[str, typer.Option(help="The library.", callback=_not_empty)]
Paths = Annotated[list[str] | None, typer.Argument(metavar="PATH", help="Files or folders; all if none.")]


def scope_of(paths: list[str] | None, library: str) -> Scope:
    """The library, or these paths of it."""
    from mediaflow.catalog.locations import Scope

    return Scope(library, tuple(os.fsencode(absolute_path(path)) for path in paths or []))
