"""What the guards cost: files an hour with all of them on, and without.

    python -m benchmarks.isolation [--rounds 3] [--every 1] [--json]

The same folder (as in `benchmarks.throughput`) goes through the same queues, catalog and models twice in each
round, with workers as they are and with those of `benchmarks.unguarded`; warm both times. Reported is the
median of the ratios.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.installation import (
    PROJECT,
    PYTHON,
    Installation,
    arguments,
    print_answer,
    say,
    test_media,
)
from benchmarks.throughput import copy_mix
from mediaflow.settings import load_settings

GOAL = 0.95


@contextmanager
def workers(installation: Installation, module: str) -> Iterator[None]:
    """One worker of `module` for each queue that is used by default."""
    queues = ["prepare", *load_settings().default_tasks(), "index"]
    with installation.up("queue"), (installation.folder / "workers.log").open("wb") as log:
        processes = [
            subprocess.Popen(
                [PYTHON, "-m", module, queue],
                env=installation.environment,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            for queue in queues
        ]
        try:
            yield
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


def seconds(mix: Path, warm: Path, module: str) -> float:
    """How long `submit --wait` of the mix takes with warm workers of `module`."""
    with Installation() as installation, workers(installation, module):
        installation.run("submit", str(warm), "--wait", "--json")
        finished = installation.run("submit", str(mix), "--wait", "--json")
        answer = json.loads(finished.output)
        if answer["failed"]:
            raise RuntimeError(f"{answer['failed']} files failed: nothing was compared")
        return finished.seconds


def measure(rounds: int, every: int) -> dict[str, Any]:
    """All rounds, and the median of throughput with guards over throughput without."""
    found = []
    with Installation() as place:
        mix, warm = place.folder / "mix", place.folder / "warm"
        files = copy_mix(test_media(), mix, warm, every).total()
        modules = ["workers", "benchmarks.unguarded"]
        for number in range(1, rounds + 1):
            # Each goes first as often as the other.
            order = modules if number % 2 else modules[::-1]
            one = {module: round(seconds(mix, warm, module), 1) for module in order}
            found.append(one)
            say(f"round {number} of {rounds}: {json.dumps(one)}")
    ratios = [one["benchmarks.unguarded"] / one["workers"] for one in found]
    return {"files": files, "ratio": round(median(ratios), 3), "goal": GOAL, "rounds": found}


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="take only every n-th file of a kind")
    options = parser.parse_args()
    answer = measure(options.rounds, options.every)
    table = [
        ("figure", "value", "goal"),
        ("files in the mix", str(answer["files"]), ""),
        ("files an hour, guards on / off", f"{answer['ratio']:.3f}", str(GOAL)),
    ]
    print_answer(answer, table, options.json)


if __name__ == "__main__":
    main()
