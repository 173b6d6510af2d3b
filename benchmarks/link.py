"""What a slow link costs a box: pieces of work a second at 100 ms there and back, beside those at 0 ms.

    python -m benchmarks.link [--photos 150] [--rounds 2] [--delay 100] [--json]

Real photos through `nsfw` and `embed`, all by a box: queue, gateway, `prepare` and `index` on one host, the
box on another, a core each; the link is carried by this process. All photos are prepared once; each round
then does the same work from a copy of that state, at 0 ms and at the delay. The rate is counted from the
first tenth that is done to the end, so that loading the models weighs on neither.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from statistics import median

from benchmarks.installation import Installation, arguments, print_answer, say, test_media
from benchmarks.two_hosts import (
    box,
    done,
    done_by_box,
    for_boxes,
    gateway,
    left,
    photos,
    pinned_hosts,
    unprepared,
)
from tests.network import Link

GOAL = 0.9
# Nothing is done at home, also none of the findings that would be checked there.
NO_WORKERS = {"MEDIAFLOW_FLEET__CHECK": "0"} | {
    f"MEDIAFLOW_TASKS__{task}__WORKERS": "0" for task in ("NSFW", "EMBED", "OCR", "TRANSCRIBE", "POSE")
}


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--delay", type=float, default=100.0, help="milliseconds there and back")
    options = parser.parse_args()
    with pinned_hosts() as link, Installation(for_boxes(link, **NO_WORKERS)) as first:
        say(f"preparing {options.photos} photos")
        prepare(first, options.photos)
        ratios, rates = [], []
        for number in range(options.rounds):
            near = measure(first, link, 0.0, f"{number}-near")
            far = measure(first, link, options.delay / 2000, f"{number}-far")
            say(f"round {number + 1}: {near:.2f}/s near, {far:.2f}/s far: {far / near:.2f}")
            ratios.append(far / near)
            rates.append((near, far))
    answer = {
        "photos": options.photos,
        "delay_ms": options.delay,
        "rounds": [{"near": round(near, 3), "far": round(far, 3)} for near, far in rates],
        "ratio": round(median(ratios), 3),
        "goal": GOAL,
    }
    table = [["round", "at 0 ms, 1/s", f"at {options.delay:g} ms, 1/s", "ratio"]]
    table += [
        [str(n + 1), f"{near:.2f}", f"{far:.2f}", f"{far / near:.2f}"] for n, (near, far) in enumerate(rates)
    ]
    table += [["median", "", "", f"{answer['ratio']:.2f} (goal {GOAL})"]]
    print_answer(answer, table, options.json)


def prepare(installation: Installation, count: int) -> None:
    """Write photos, and have them prepared; their analyses wait."""
    photos(test_media(), installation.folder / "photos", count)
    with installation.up():
        installation.run("submit", "--tasks", "nsfw,embed", str(installation.folder / "photos"))
        while unprepared(installation):
            time.sleep(0.5)


def measure(prepared: Installation, link: Link, delay: float, name: str) -> float:
    """Pieces of work a second of a box, from a copy of the prepared state, with `delay` seconds each way."""
    home = prepared.folder / name
    shutil.copytree(prepared.home, home, ignore=shutil.ignore_patterns("run"))
    link.delay = delay
    with (
        Installation(prepared.environment | {"MEDIAFLOW_HOME": str(home)}, home) as installation,
        installation.up(),
        gateway(installation),
        box(installation, link, Path(f"{home}-box")),
    ):
        rate = rate_of(installation, left(installation))
    link.delay = 0.0
    shutil.rmtree(home)
    return rate


def rate_of(installation: Installation, total: int) -> float:
    """Pieces of work a second, from a tenth of them to the last that the box did."""
    begun, began, ended, before = 0, 0.0, 0.0, 0
    while done_by_box(installation) < total:
        now = done(installation)
        if now > before:
            before, ended = now, time.monotonic()
        if not begun and now >= total / 10:
            begun, began = now, ended
        time.sleep(0.1)
    return (before - begun) / (ended - began)


if __name__ == "__main__":
    main()
