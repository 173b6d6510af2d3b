"""How long a person waits for a command: medians of runs in turns, beside a bare Python.

    python -m benchmarks.startup [--runs 9] [--assets 10000] [--json]

The catalog holds made-up assets with passages, and vectors in the spaces that the settings name. Nothing
else runs: each command is a process of its own, as typed into a shell. Processor seconds tell what
a command costs where other programs keep the machine busy.
"""

from __future__ import annotations

import sys
from contextlib import closing
from statistics import median

from benchmarks.installation import (
    MEDIAFLOW,
    PYTHON,
    Finished,
    Installation,
    arguments,
    print_answer,
    run,
    say,
)

GOALS = {"mediaflow --help": 0.3, "mediaflow search": 1.5}
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [PYTHON, "-c", "pass"],
    "python -c 'import typer'": [PYTHON, "-c", "import typer"],
    "python -c 'import numpy, faiss, onnxruntime'": [PYTHON, "-c", "import numpy, faiss, onnxruntime"],
    "mediaflow --help": [MEDIAFLOW, "--help"],
    "mediaflow status": [MEDIAFLOW, "status"],
    "mediaflow search": [MEDIAFLOW, "search", "a birthday in the mountains"],
    "mediaflow search --in name": [MEDIAFLOW, "search", "a birthday", "--in", "name"],
}


def fill_catalog(assets: int) -> None:
    """Made-up assets, half of them with picture vectors, half with text vectors; snapshots of both spaces."""
    from benchmarks.vectors import fill
    from mediaflow.catalog.database import connect
    from mediaflow.index.snapshot import rebuild
    from mediaflow.models.encoders import image_encoder, text_encoder
    from mediaflow.settings import load_settings

    image = image_encoder(load_settings(), queries_only=True)
    text = text_encoder(load_settings())
    with closing(connect()) as db:
        fill(db, image.space, assets // 2, image.dimension)
        fill(db, text.space, assets // 2, text.dimension, "ocr")
        rebuild(db)


def measure(runs: int, assets: int) -> dict[str, dict[str, float]]:
    """Medians by command: seconds and processor seconds."""
    found: dict[str, list[Finished]] = {name: [] for name in COMMANDS}
    with Installation() as installation:
        with installation.here():
            fill_catalog(assets)
        for number in range(runs + 1):
            say(f"round {number} of {runs}" if number else "a first round to warm up, not counted")
            for name, command in COMMANDS.items():
                finished = run(command, installation.environment)
                if number:
                    found[name].append(finished)
    return {
        name: {
            "seconds": round(median(each.seconds for each in all_), 3),
            "cpu_seconds": round(median(each.cpu_seconds for each in all_), 3),
        }
        for name, all_ in found.items()
    }


def main() -> None:
    """Measure and print; status 1 when a goal is missed."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--assets", type=int, default=10_000)
    options = parser.parse_args()
    medians = measure(options.runs, options.assets)
    table = [("command", "seconds", "CPU s", "goal s")]
    for name, figures in medians.items():
        goal = str(GOALS.get(name, ""))
        table.append((name, f"{figures['seconds']:.2f}", f"{figures['cpu_seconds']:.2f}", goal))
    print_answer({"assets": options.assets, "runs": options.runs, "commands": medians}, table, options.json)
    sys.exit(any(medians[name]["seconds"] > goal for name, goal in GOALS.items()))


if __name__ == "__main__":
    main()
