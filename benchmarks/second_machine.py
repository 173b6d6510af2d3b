"""What a second machine saves: wall time of a run with a box beside this machine's workers, and without.

    python -m benchmarks.second_machine [--photos 150] [--rounds 1] [--json]

Real photos through `ocr`, `nsfw` and `embed`, from `submit` to the last finding, all processes cold. One host
has queue, gateway, all workers and the stages around them, the other a box; each has one core.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from statistics import median

from benchmarks.installation import Installation, arguments, print_answer, say, test_media
from benchmarks.two_hosts import box, done, done_by_box, for_boxes, gateway, left, photos, pinned_hosts
from tests.network import Link

GOAL = 0.6


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tasks", default="ocr,nsfw,embed")
    options = parser.parse_args()
    rounds = []
    with pinned_hosts() as link:
        for number in range(options.rounds):
            alone, _ = measure(link, options.photos, options.tasks, with_box=False)
            both, by_box = measure(link, options.photos, options.tasks, with_box=True)
            rounds.append({"alone": round(alone, 1), "both": round(both, 1), "by_box": round(by_box, 3)})
            say(f"round {number + 1}: {alone:.0f} s alone, {both:.0f} s with a box: {both / alone:.2f}")
    ratio = median(each["both"] / each["alone"] for each in rounds)
    answer = {"photos": options.photos, "tasks": options.tasks, "rounds": rounds}
    table = [["round", "alone, s", "with a box, s", "ratio", "done by the box"]]
    for number, each in enumerate(rounds):
        share = f"{each['by_box']:.0%}"
        cells = [f"{each['alone']:.0f}", f"{each['both']:.0f}", f"{each['both'] / each['alone']:.2f}", share]
        table.append([str(number + 1), *cells])
    print_answer(answer | {"ratio": round(ratio, 3), "goal": GOAL}, table, options.json)


def measure(link: Link, count: int, tasks: str, with_box: bool) -> tuple[float, float]:
    """Seconds of a run, and the share of the work that the box did."""
    with Installation(for_boxes(link)) as installation:
        photos(test_media(), installation.folder / "photos", count)
        second = box(installation, link, installation.folder / "box") if with_box else nullcontext()
        with installation.up(), gateway(installation), second:
            started = time.monotonic()
            installation.run("submit", "--tasks", tasks, str(installation.folder / "photos"))
            while left(installation):
                time.sleep(0.2)
            seconds = time.monotonic() - started
            time.sleep(6)  # the gateway writes down every few seconds
            share = done_by_box(installation) / done(installation)
    return seconds, share


if __name__ == "__main__":
    main()
