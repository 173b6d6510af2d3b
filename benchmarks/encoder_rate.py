"""Pictures a second: the image encoder beside a bare loop over the same networks, by turns.

    python benchmarks/encoder_rate.py

The bare loop runs the networks on inputs that were prepared before, so the ratio is what preparing
pictures and everything else costs. Medians of several turns; the machine should have nothing else to do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import retrieval

from mediaflow.models.encoders.conse import CLASSIFIER, Conse
from mediaflow.models.encoders.efficientnet import VARIANTS, EfficientNet, prepare
from mediaflow.models.encoders.people import BODIES, FACES, letterboxed
from mediaflow.models.store import model_folder
from mediaflow.settings import load_settings

TURNS = 5


def main() -> None:
    """Load, prepare, then both by turns."""
    from ai_edge_litert.interpreter import Interpreter

    settings = load_settings()
    rows = retrieval.rows(retrieval.MEDIA / "manifest.jsonl")
    images = [retrieval.load(row["path"]) for row in rows if row["kind"] == "image_caption"]
    views = [prepare(image, VARIANTS[CLASSIFIER].pixels) for image in images]
    network = EfficientNet(CLASSIFIER, model_folder(CLASSIFIER) / f"{CLASSIFIER}.pth", settings)
    detectors = []
    for model, file in (BODIES, FACES):
        detector = Interpreter(str(model_folder(model) / file), num_threads=settings.tasks["embed"].threads)
        detector.allocate_tensors()
        entry = detector.get_input_details()[0]
        squares = [letterboxed(image, int(entry["shape"][1]))[None] / 127.5 - 1 for image in images]
        detectors.append((detector, entry["index"], squares))

    def bare() -> None:
        for index, view in enumerate(views):
            network.run(view)
            for detector, place, squares in detectors:
                detector.set_tensor(place, squares[index])
                detector.invoke()

    encoder = Conse(settings)
    spent = by_turns({"encoder": lambda: encoder.describe(images), "bare loop": bare})
    for title, seconds in spent.items():
        print(f"{title:10} {len(images) / seconds:6.1f} pictures a second")
    print(f"ratio of time {spent['encoder'] / spent['bare loop']:.2f}")


def by_turns(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each piece of work; the first turn only warms up."""
    spent: dict[str, list[float]] = {title: [] for title in work}
    for turn in range(TURNS + 1):
        for title, run in work.items():
            started = time.perf_counter()
            run()
            if turn:
                spent[title].append(time.perf_counter() - started)
    return {title: statistics.median(seconds) for title, seconds in spent.items()}


if __name__ == "__main__":
    main()
