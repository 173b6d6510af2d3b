"""How `mediaflow show` looks."""

from __future__ import annotations

import sqlite3
from typing import Any

from mediaflow.cli.output import byte_size, console, counted, path_text, timecode, when
from mediaflow.names import readable

LINES = 12


def print_description(description: dict[str, Any], location: sqlite3.Row) -> None:
    """All that is known of a file, task by task."""
    out = console()
    out.print(path_text(description["path"]))
    if location["gone"]:
        print(f"  not there any more since {when(location['gone'])}")
    for state in ("failed", "skipped"):
        if state in description:
            print(f"  {state}: {readable(description[state]['reason'])}")
    media = dict(description["media"])
    warning, taken = media.pop("warning", None), media.pop("taken", None)
    if warning:
        print(f"  warning: {readable(str(warning))}")
    if description["kind"]:
        facts = ", ".join(f"{key} {readable(str(value))}" for key, value in media.items())
        print(f"  {description['kind']}: {facts}")
    date = f"taken {readable(str(taken)).replace('T', ' ')}, " if taken else ""
    print(f"  {date}modified {when(description['modified'])}, {byte_size(description['size'])}")
    print(f"  library {readable(description['library'])}")
    if description["asset"]:
        print(f"  asset {description['asset']}")
    _print_copies(description.get("locations", [])[1:])
    for task, finding in description["findings"].items():
        print(f"{task} ({finding['model']}, {finding['seconds']:.2f} s)")
        for line in _lines(task, finding):
            out.print("  " + readable(line), markup=False)
    if description["kind"] and not description["findings"]:
        print("no task is done yet (mediaflow status)")


def _print_copies(copies: list[dict[str, Any]]) -> None:
    if copies:
        print(f"  {counted(len(copies), 'other location')} of the same content:")
    for copy in copies[:LINES]:
        gone = f", gone since {when(copy['gone'])}" if copy["gone"] else ""
        print(f"    {readable(copy['path'])} (library {readable(copy['library'])}{gone})")
    if len(copies) > LINES:
        print(f"    … and {len(copies) - LINES:,} more; --json shows all")


def _lines(task: str, finding: dict[str, Any]) -> list[str]:
    if task == "ocr":
        lines = [f"{_place(line)}{line['text']}  ({line['confidence']:.2f})" for line in finding["lines"]]
        lines = lines or ["no text found"]
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
            f"{_place(p)}person, score {p['score']:.2f}, {counted(len(p['keypoints']), 'keypoint')}"
            for p in finding["people"]
        ] or ["no person found"]
    elif task == "embed":
        lines = [_space(space) for space in finding.get("spaces", [])]
    else:
        lines = [f"{key}: {value}" for key, value in finding.items() if key not in ("model", "seconds")]
    more = len(lines) - LINES
    return lines[:LINES] + ([f"… and {more} more; --json shows all"] if more > 0 else [])


def _space(space: dict[str, Any]) -> str:
    return f"searchable in {space['space']}: {counted(space['vectors'], 'vector')} of {space['dimension']}"


def _place(thing: dict[str, Any]) -> str:
    if "time" in thing:
        return f"{timecode(thing['time'])} {_track(thing)}"
    return f"page {thing['page']} " if "page" in thing else ""


def _track(thing: dict[str, Any]) -> str:
    """Which track of a recording, where it has several."""
    return f"track {thing['track']} " if thing.get("track") else ""
