"""Quality on real media with ground truth, through the real queue and search, beside bare libraries.

    python -m benchmarks.quality [--only ocr,speech] [--home FOLDER] [--json]

Submits all of MEDIAFLOW_TEST_MEDIA, takes the findings that `mediaflow export` gives and the answers that
`mediaflow search` gives, and scores both mediaflow's and the bare library's on the same files. A row where
mediaflow loses more than a point to the first library is marked, and the exit status is 1. P@10 is the
share of right pictures among the first ten, of what is possible.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.installation import Installation, arguments, print_table, say, test_media
from benchmarks.quality import Entry, Finding, Row, nsfw, ocr, pose, read_manifest, rows, search, speech
from mediaflow.models.store import model_folder

POINT = 0.01
COUNTS = ("unsafe", "unsure", "invented")
TASKS = {
    "ocr": "ocr",
    "speech": "transcribe",
    "nsfw": "nsfw",
    "pose": "pose",
    "image": "embed",
    "near_dup": "embed",
    "search": "ocr,transcribe,embed",
}
Findings = Mapping[str, Mapping[str, Finding]]


def ocr_rows(findings: Findings, manifest: Sequence[Entry], media: Path) -> list[Row]:
    """Beside RapidOCR as it comes, and with the weights that mediaflow uses."""
    paths = [entry["path"] for entry in manifest if entry["kind"] == "ocr"]
    others = {
        "RapidOCR": ocr.score(ocr.bare_findings(media, paths), manifest, media),
        "with our weights": ocr.score(ocr.bare_findings(media, paths, True), manifest, media),
    }
    return rows("ocr", ocr.score(_of("ocr", findings), manifest, media), others, lower="cer")


def speech_rows(findings: Findings, manifest: Sequence[Entry], media: Path) -> list[Row]:
    """Beside faster-whisper as it comes, with the same weights."""
    heard = [e for e in manifest if "transcript" in e["truth"] and e["truth"].get("has_audio", True)]
    paths = {media / entry["path"]: entry["path"] for entry in heard}
    said, _ = speech.bare(list(paths), model_folder("whisper-base"), 2)
    scores = [
        speech.score(found, heard)
        for found in (_of("transcribe", findings), {paths[path]: finding for path, finding in said.items()})
    ]
    ours, bare = ({g: {"wer": v["wer"]} for g, v in s["languages"].items()} for s in scores)
    silent = Row(
        "speech",
        "nobody speaks",
        "invented",
        len(scores[0]["invented"]),
        {"faster-whisper": len(scores[1]["invented"])},
        False,
    )
    return [*rows("speech", ours, {"faster-whisper": bare}, lower="wer"), silent]


def nsfw_rows(findings: Findings, manifest: Sequence[Entry], media: Path) -> list[Row]:
    """Beside the same model on the original files. All of them are harmless."""
    tagged = [entry for entry in manifest if set(nsfw.TAGS) & set(entry.get("tags", ()))]
    bare = nsfw.bare_findings(media, [entry["path"] for entry in tagged])
    others = {"open_nsfw": nsfw.score(bare, tagged, media)}
    ours = nsfw.score(_of("nsfw", findings), tagged, media)
    return rows("nsfw", ours, others, lower="unsafe unsure mean_score highest_score")


def pose_rows(findings: Findings, manifest: Sequence[Entry], media: Path) -> list[Row]:
    """Beside the same models in one plain pass, and given the true boxes."""
    posed = [entry for entry in manifest if "pose" in entry["truth"]]
    others = {
        "one pass": pose.score(pose.bare_findings(media, posed, False), posed, media),
        "boxes given": pose.score(pose.bare_findings(media, posed, True), posed, media),
    }
    return rows("pose", pose.score(_of("pose", findings), posed, media), others, lower="invented")


OF_FINDINGS: dict[str, Callable[[Findings, Sequence[Entry], Path], list[Row]]] = {
    "ocr": ocr_rows,
    "speech": speech_rows,
    "nsfw": nsfw_rows,
    "pose": pose_rows,
}


def _of(task: str, findings: Findings) -> dict[str, Finding]:
    return {path: found[task] for path, found in findings.items() if task in found}


def submit(installation: Installation, media: Path, parts: Sequence[str]) -> dict[str, Any]:
    """All media through the queue, with the tasks that these parts need; what `submit` answers."""
    tasks = dict.fromkeys(task for part in parts for task in TASKS[part].split(","))
    say(f"submit --wait, tasks {', '.join(tasks)}")
    done = installation.run("submit", str(media), "--wait", "--tasks", ",".join(tasks), "--json")
    answer: dict[str, Any] = json.loads(done.output)
    say(f"{answer['files']} files in {answer['seconds']:.0f} s, {answer['failed']} failed")
    return answer


def measure(installation: Installation, media: Path, parts: Sequence[str]) -> list[Row]:
    """The rows of these parts."""
    manifest = read_manifest(media)
    described = [json.loads(line) for line in installation.run("export").output.splitlines()]
    findings = {os.path.relpath(each["path"], media): each["findings"] for each in described}
    names = search.Names(media, described)
    found: list[Row] = []
    for part in parts:
        say(f"scoring {part}")
        if part in OF_FINDINGS:
            found += OF_FINDINGS[part](findings, manifest, media)
        elif part == "image":
            found += search.photos_by_words(installation, manifest, names)
        elif part == "near_dup":
            found += search.near_copies(installation, media, manifest, names)
        else:
            found += search.by_words(installation, media, names)
    return found


def loses(row: Row) -> bool:
    """Whether mediaflow is a point worse than the bare library, or worse at all where files are counted."""
    if not row.others:
        return False
    bare = next(iter(row.others.values()))
    behind = bare - row.ours if row.higher_is_better else row.ours - bare
    return behind > (0 if row.figure in COUNTS else POINT)


def print_rows(found: Sequence[Row]) -> None:
    """A table for each part."""
    for part, each in groupby(found, lambda row: row.part):
        part_rows = list(each)
        others = list(part_rows[0].others)
        if not others:
            print_table(_by_group(part, part_rows))
            print()
            continue
        table = [(part, "figure", "mediaflow", *others, "")]
        for row in part_rows:
            values = (_shown(row, value) for value in (row.ours, *row.others.values()))
            table.append((row.group, row.figure, *values, "WORSE" if loses(row) else ""))
        print_table(table)
        print()


def _by_group(part: str, found: Sequence[Row]) -> list[tuple[str, ...]]:
    """A line for each group with all its figures: where no library stands beside."""
    table: list[tuple[str, ...]] = [(part, *dict.fromkeys(row.figure for row in found))]
    for group, each in groupby(found, lambda row: row.group):
        table.append((group, *(_shown(row, row.ours) for row in each)))
    return table


def _shown(row: Row, value: float) -> str:
    return f"{value:.0f}" if row.figure in COUNTS else f"{value:.3f}"


def main() -> None:
    """Submit, measure, print; status 1 when something is worse than the bare library."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default=",".join(TASKS), help=f"of {','.join(TASKS)}")
    parser.add_argument("--home", type=Path, help="a home to keep: a second run is quick")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - set(TASKS):
        parser.error(f"there is no part {', '.join(unknown)}")
    media = test_media()
    with Installation(home=options.home) as installation, installation.here():
        answer = submit(installation, media, parts)
        found = measure(installation, media, parts)
    worse = [row for row in found if loses(row)]
    if options.json:
        shown = [{**_as_json(row), "worse": loses(row)} for row in found]
        print(json.dumps({"submit": answer, "rows": shown}, ensure_ascii=False))
    else:
        print_rows(found)
        print(f"{len(worse)} of {len(found)} figures are more than a point worse than the bare library's.")
    sys.exit(bool(worse))


def _as_json(row: Row) -> dict[str, Any]:
    return {
        "part": row.part,
        "group": row.group,
        "figure": row.figure,
        "ours": float(row.ours),
        "others": {name: float(value) for name, value in row.others.items()},
    }


if __name__ == "__main__":
    main()
