"""What to say where a command finds nothing: the library, the path, or the whole catalog is not there."""

from __future__ import annotations

import os
import sqlite3

from mediaflow.catalog import listing
from mediaflow.catalog.locations import Scope
from mediaflow.errors import UsageError
from mediaflow.names import readable

NOTHING_SUBMITTED = "Nothing was submitted yet. Begin with: mediaflow submit --wait FOLDER"


def check_library(db: sqlite3.Connection, library: str) -> None:
    """Raise UsageError for a library that does not exist, where others do."""
    if unknown := unknown_library(db, library):
        raise UsageError(unknown)


def unknown_library(db: sqlite3.Connection, library: str) -> str | None:
    """The message for a library that does not exist, where others do."""
    known = listing.library_names(db)
    if not known or library in known:
        return None
    names = ", ".join(readable(name) for name in known)
    return f"There is no library '{readable(library)}'. Libraries: {names}."


def explain_absence(db: sqlite3.Connection, scope: Scope) -> str | None:
    """Why nothing in `scope` is known; None where something is."""
    if listing.has_any(db, scope):
        return None
    if not listing.library_names(db):
        return NOTHING_SUBMITTED
    paths = ", ".join(readable(os.fsdecode(root)) for root in scope.roots)
    others = [readable(name) for name in listing.libraries_of(db, scope)] if scope.roots else []
    verb = "is" if len(scope.roots) == 1 else "are"
    here = f"{paths} {verb} not in library '{readable(scope.library)}'"
    if others:
        return f"{here}, but in {', '.join(others)}: add --library {others[0]}."
    return f"{here}." if paths else f"Library '{readable(scope.library)}' is empty."
