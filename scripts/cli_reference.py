"""Writes docs/cli.md, the help of every command, from the command line itself.

usage: .venv/bin/python scripts/cli_reference.py     after each change of a command, an option or a help text
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cli.md"
HEAD = """# Command line

What `mediaflow COMMAND --help` prints. Made by `scripts/cli_reference.py`: not to be edited by hand.
"""
COLUMNS = 80


def reference() -> str:
    """The page, as it has to be for the command line as it is."""
    from mediaflow.cli.app import app

    sections = [HEAD]
    for words, text in _helps(typer.main.get_command(app), ["mediaflow"]):
        lines = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
        sections.append(f"## {' '.join(words)}\n\n{lines}\n")
    return "\n".join(sections)


def _helps(command: Any, words: list[str], parent: Any = None) -> Iterator[tuple[list[str], str]]:
    """The words and the help of a command and of all below it."""
    context = command.make_context(words[-1], ["--help"], parent=parent, resilient_parsing=True)
    context.terminal_width = context.max_content_width = COLUMNS
    yield words, context.get_help()
    for name, inner in getattr(command, "commands", {}).items():
        yield from _helps(inner, [*words, name], context)


def main() -> None:
    """Write the page."""
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"{PAGE} written")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
