"""What a box makes of its device: files a second, beside a bare loop of the same model in one process.

    python -m benchmarks.box [--photos 240] [--tasks nsfw,embed,transcribe] [--here] [--json]

Real photos and recordings, prepared before. A box on a host of its own takes one task's items from a real
gateway over TLS; the bare loop calls the same task on the same renditions and core, in batches of the
same size. Loading the model weighs on neither: the loop is timed after it, the box from the first tenth of
its findings that are stored to the last.
--here: on one machine without network namespaces, as on one with a GPU.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.installation import PROJECT, PYTHON, Installation, arguments, print_answer, say, test_media
from benchmarks.link import NO_WORKERS, rate_of
from benchmarks.quality import read_manifest
from benchmarks.two_hosts import (
    box,
    for_boxes,
    gateway,
    left,
    photos,
    pinned_hosts,
    unprepared,
)
from tests.network import Link

GOAL = 0.9
SPEECH = ("speech", "robust_audio")


def main() -> None:
    """Measure and print; with --loop, be the bare loop."""
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=int, default=240)
    parser.add_argument("--tasks", default="nsfw,embed,transcribe")
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--loop", nargs=2, metavar=("TASK", "HOME"), help="what the benchmark itself starts")
    options = parser.parse_args()
    if options.loop:
        print(json.dumps(loop(*options.loop)))
        return
    rows = []
    with nullcontext() if options.here else pinned_hosts() as link:
        for task in options.tasks.split(","):
            rows.append({"task": task} | measure(link, task, options.photos))
            say(str(rows[-1]))
    table = [["task", "files", "bare loop, 1/s", "box, 1/s", "ratio"]]
    for row in rows:
        cells = [str(row["files"]), f"{row['loop']:.2f}", f"{row['box']:.2f}", f"{row['ratio']:.2f}"]
        table.append([row["task"], *cells])
    print_answer({"tasks": rows, "goal": GOAL}, table, options.json)


def measure(link: Link | None, task: str, count: int) -> dict[str, Any]:
    """Files a second of the bare loop and of a box."""
    with Installation(for_boxes(link, **NO_WORKERS)) as installation:
        if task == "transcribe":
            recordings(installation.folder / "files")
        else:
            photos(test_media(), installation.folder / "files", count)
        with installation.up():
            installation.run("submit", "--tasks", task, str(installation.folder / "files"))
            while unprepared(installation):
                time.sleep(0.5)
            total = left(installation)
            command = [PYTHON, "-m", "benchmarks.box", "--loop", task, str(installation.home)]
            command = link.second.command(*command) if link else command
            said = subprocess.run(
                command, env=installation.environment, stdout=subprocess.PIPE, check=True, cwd=PROJECT
            )
            alone = json.loads(said.stdout)
            with gateway(installation), box(installation, link, installation.folder / "box"):
                rate = rate_of(installation, total)
    rates = {"loop": round(alone["files"] / alone["seconds"], 3), "box": round(rate, 3)}
    return {"files": total, **rates, "ratio": round(rates["box"] / rates["loop"], 3)}


def recordings(to: Path) -> None:
    """Copy the real recordings of speech, no bytes twice."""
    to.mkdir(parents=True)
    for entry in {
        entry["sha256"]: entry for entry in read_manifest(test_media()) if entry["kind"] in SPEECH
    }.values():
        shutil.copy(test_media() / entry["path"], to / f"{entry['sha256'][:12]}{Path(entry['path']).suffix}")


def loop(task: str, home: str) -> dict[str, float]:
    """All renditions of a home through a task in this process: their number, and the seconds it took."""
    from jobs.task import find_task
    from mediaflow.media.rendition import MANIFEST, Rendition
    from mediaflow.models.device import at_once
    from mediaflow.settings import load_settings

    os.nice(5)  # as a worker's child is
    found = [Rendition.load(path.parent) for path in sorted(Path(home).glob(f"renditions/??/*/{MANIFEST}"))]
    runner = find_task(task)(load_settings())
    runner.load()
    fit = [each for each in found if each and (each.pictures if runner.needs == "pictures" else each.audio)]
    size = at_once(load_settings(), runner.together)
    runner.analyse(fit[:size])  # what is made at the first call
    began = time.monotonic()
    for first in range(0, len(fit), size):
        runner.analyse(fit[first : first + size])
    return {"files": len(fit), "seconds": time.monotonic() - began}


if __name__ == "__main__":
    sys.exit(main())
