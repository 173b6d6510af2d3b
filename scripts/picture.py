"""Run commands in a terminal of their own and draw what they showed: docs/search.svg is made with it.

usage: scripts/picture.py OUT.svg 'COMMAND WITH ARGUMENTS'…
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COLUMNS = 88


def main(out: str, commands: list[str]) -> None:
    """Draw the commands and what they showed."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for command in commands:
        console.print(Text(f"$ {command}", style="bold"))
        console.print(Text.from_ansi(_run(shlex.split(command)).rstrip()), end="\n\n")
    # Without the fonts that rich would have a browser fetch from elsewhere.
    form = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    Path(out).write_text(console.export_svg(title="mediaflow", code_format=form), encoding="utf-8")


def _run(command: list[str]) -> str:
    """What the command writes to a terminal, links taken out."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        seen += part
    process.wait()
    return re.sub(r"\x1b\]8;[^\x1b]*\x1b\\", "", seen.decode().replace("\r\n", "\n"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
