"""How `mediaflow show` looks."""

from __future__ import annotations

import sqlite3
from typing import Any

from mediaflow.cli.output import console, path_text, timecode, when
from mediaflow.names import readable

LINES = 12


def print_description(description: dict[str, Any], location: sqlite3.Row) -> None:
    """All that is known of a file, task by task."""
    out = console()
    out.print(path_text(description["path"]))
    if location["gone"]:
        print(f"  not there any more since {when(location['gone'])}")
    if "failed" in description:
        print(f"  failed: {readable(description['failed']['reason'])}")
    if description["kind"]:
        media = ", ".join(f"{key} {readable(str(value))}" for key, value in description["media"].items())
        print(f"  {description['kind']}: {media}")
        print(f"  asset {description['asset']}")
    for task, finding in description["findings"].items():
        print(f"{task} ({finding['model']}, {finding['seconds']:.2f} s)")
        for line in _lines(task, finding):
            out.print("  " + readable(line), markup=False)


def _lines(task: str, finding: dict[str, Any]) -> list[str]:
    if task == "ocr":
        lines = [f"{_place(line)}{line['text']}  ({line['confidence']:.2f})" for line in finding["lines"]]
    elif task == "transcribe":
        lines = [f"language {finding['language']}"]
        lines += [
            f"{timecode(s['start'])}-{timecode(s['end'])}  {_track(s)}{s['text'].strip()}"
            for s in finding["segments"]
        ]
    elif task == "nsfw":
        lines = [f"{finding['verdict']}, score {finding['score']:.3f}"]
    elif task == "pose":
        lines = [
            f"{_place(p)}person, score {p['score']:.2f}, {len(p['keypoints'])} keypoints"
            for p in finding["people"]
        ]
    elif task == "embed":
        lines = [
            f"{s['vectors']} vectors of {s['dimension']} in {s['space']}" for s in finding.get("spaces", [])
        ]
    else:
        lines = [f"{key}: {value}" for key, value in finding.items() if key not in ("model", "seconds")]
    more = len(lines) - LINES
    return lines[:LINES] + ([f"… and {more} more; --json shows all"] if more > 0 else [])


def _place(thing: dict[str, Any]) -> str:
    if "time" in thing:
        return f"{timecode(thing['time'])} {_track(thing)}"
    return f"page {thing['page']} " if "page" in thing else ""


def _track(thing: dict[str, Any]) -> str:
    """Which track of a recording, where it has several."""
    return f"track {thing['track']} " if thing.get("track") else ""
