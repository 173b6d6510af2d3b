"""`mediaflow doctor`: find and repair what a crash, a full disk or a power cut left."""

from __future__ import annotations

import shutil
import sys
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mediaflow.cli.output import print_json
from mediaflow.names import readable

if TYPE_CHECKING:
    from mediaflow.ops.doctor.report import Finding

MARKS = {"ok": "ok", "repaired": "repaired", "problem": "PROBLEM"}
LEAD = 22  # characters before what was found


def doctor(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be repaired, and stop.")
    ] = False,
    models: Annotated[
        bool, typer.Option("--models", help="Also read the files of the models (SHA-256).")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Find and repair what a crash left. Exit status 3 if something needs your attention."""
    from mediaflow.ops.doctor import examine

    findings = examine(dry_run=dry_run, models=models)
    well = all(finding.state != "problem" for finding in findings)
    if json:
        print_json({"ok": well, "findings": [finding_json(finding) for finding in findings]})
    else:
        for finding in findings:
            print_finding(finding)
    if not well:
        raise typer.Exit(3)


def finding_json(finding: Finding) -> dict[str, str]:
    """A finding in the form that the doctors print; without `next` where nothing is to be done."""
    return {key: value for key, value in asdict(finding).items() if value is not None}


def print_finding(finding: Finding) -> None:
    """A line for a script, more of them on a terminal that is not wide enough."""
    said = readable(finding.what)
    after = f"→ {readable(finding.next)}" if finding.next else ""
    head = f"{finding.check:<11} {MARKS[finding.state]:<9} "
    if not sys.stdout.isatty():
        print(head + " ".join(filter(None, [said, after])))
        return
    width = max(40, shutil.get_terminal_size().columns)
    for text, lead in ((said, head), (after, " " * LEAD)):
        if text:
            print(
                textwrap.fill(
                    text,
                    width,
                    initial_indent=lead,
                    subsequent_indent=" " * LEAD,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )


commands = [doctor]
epilogs = {
    doctor: """\b
Exit status:
  0  all is well, or was repaired
  2  wrong usage
  3  something needs your attention
"""
}
