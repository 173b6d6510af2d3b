"""Files an hour on a mixed folder, and what queue and workers cost beside a bare loop over the same models.

    python -m benchmarks.throughput [--rounds 3] [--every 1] [--json]

The folder: photos, scans, recordings and videos of MEDIAFLOW_TEST_MEDIA, no content twice. Each round runs,
one after the other, `submit --wait` with warm workers, the bare loop, and `submit --wait` from nothing;
ratios are of runs in one round, and their median is reported, so that a busy machine weighs on both.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.installation import (
    PYTHON,
    Installation,
    arguments,
    print_answer,
    processor_seconds,
    run,
    say,
    test_media,
)
from benchmarks.quality import read_manifest

KINDS = ("image_caption", "image_label", "ocr", "speech", "audio_nospeech", "video")
GOAL = 1.15


def copy_mix(media: Path, to: Path, warm: Path, every: int) -> Counter[str]:
    """Copy every n-th file of each kind, no bytes twice; a photo and a recording go into `warm` instead."""
    seen: set[str] = set()
    met: Counter[str] = Counter()
    count: Counter[str] = Counter()
    warmed: set[str] = set()
    for entry in read_manifest(media):
        kind = entry["kind"]
        if kind not in KINDS or entry["sha256"] in seen:
            continue
        seen.add(entry["sha256"])
        met[kind] += 1
        if kind in ("image_caption", "speech") and kind not in warmed:
            warmed.add(kind)
            root = warm
        elif met[kind] % every:
            continue
        else:
            root = to
            count[kind] += 1
        target = root / entry["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(media / entry["path"], target)
    return count


def queued(mix: Path, warm: Path | None, settings: Mapping[str, str] | None = None) -> dict[str, float]:
    """`submit --wait` of the mix on a fresh installation; warm workers have had `warm` before."""
    with Installation(settings) as installation:
        if warm is None:
            finished = installation.run("submit", str(mix), "--wait", "--json")
            spent = {}
        else:
            with installation.up() as pid:
                installation.run("submit", str(warm), "--wait", "--json")
                before = processor_seconds(pid)
                finished = installation.run("submit", str(mix), "--wait", "--json")
                spent = {"cpu_seconds": round(processor_seconds(pid) - before + finished.cpu_seconds, 1)}
        answer = json.loads(finished.output)
        spent |= _seconds_by_task(installation.run("export").output, mix)
    return {
        "seconds": round(finished.seconds, 1),
        "failed": answer["failed"],
        "files": answer["files"],
        **spent,
    }


def _seconds_by_task(export: str, mix: Path) -> dict[str, float]:
    spent: Counter[str] = Counter()
    for line in export.splitlines():
        description = json.loads(line)
        if Path(description["path"]).is_relative_to(mix):
            for task, finding in description["findings"].items():
                spent[task] += finding["seconds"]
    return {task: round(seconds, 1) for task, seconds in sorted(spent.items())}


def bare(mix: Path, each: bool) -> dict[str, float]:
    """The loop of `benchmarks.bare_loop` in a process of its own."""
    with Installation() as installation:
        environment = installation.environment | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
        command = [PYTHON, "-m", "benchmarks.bare_loop", str(mix), *(["--each"] if each else [])]
        finished = run(command, environment)
    figures: dict[str, float] = json.loads(finished.output)
    return figures | {"whole": round(finished.seconds, 1)}


def measure(rounds: int, every: int, each: bool) -> dict[str, Any]:
    """All rounds, the medians of files an hour, and the medians of the ratios."""
    found: list[dict[str, dict[str, float]]] = []
    with Installation() as place:
        mix, warm = place.folder / "mix", place.folder / "warm"
        kinds = copy_mix(test_media(), mix, warm, every)
        for number in range(1, rounds + 1):
            one = {"warm": queued(mix, warm), "bare": bare(mix, each), "cold": queued(mix, None)}
            found.append(one)
            say(f"round {number} of {rounds}: " + json.dumps(one))
    files = kinds.total()
    return {
        "files": files,
        "kinds": dict(kinds),
        "files_an_hour": round(median(files * 3600 / one["warm"]["seconds"] for one in found)),
        "warm_ratio": round(median(one["warm"]["seconds"] / one["bare"]["seconds"] for one in found), 3),
        "cold_ratio": round(median(one["cold"]["seconds"] / one["bare"]["whole"] for one in found), 3),
        "cpu_ratio": round(
            median(one["warm"]["cpu_seconds"] / one["bare"]["cpu_seconds"] for one in found), 3
        ),
        "goal": GOAL,
        "rounds": found,
    }


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="take only every n-th file of a kind")
    parser.add_argument(
        "--each", action="store_true", help="the loop takes one file through all models at a time"
    )
    options = parser.parse_args()
    answer = measure(options.rounds, options.every, options.each)
    table = [
        ("figure", "value", "goal"),
        ("files in the mix", str(answer["files"]), ""),
        ("files an hour, warm workers", f"{answer['files_an_hour']:,}", "3,000"),
        ("wall time, warm workers / bare loop", f"{answer['warm_ratio']:.2f}", f"{GOAL}"),
        ("wall time, from nothing / bare loop with loading", f"{answer['cold_ratio']:.2f}", ""),
        ("processor time, warm workers / bare loop", f"{answer['cpu_ratio']:.2f}", ""),
    ]
    print_answer(answer, table, options.json)


if __name__ == "__main__":
    main()
