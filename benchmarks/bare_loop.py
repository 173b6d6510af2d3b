"""The same files through the same models in one process: what throughput is held against.

    python -m benchmarks.bare_loop FOLDER [--each]

There is no queue and no catalog. Prints a JSON object: seconds by step, of loading, and in all. Files go
through each model in batches of the size the task asks for, as in the workers; with --each, one file goes
through all models before the next.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def measure(root: Path, each: bool) -> dict[str, float]:
    """Seconds of each step, of loading the models (`load`), and of all steps without loading (`seconds`)."""
    from jobs.task import find_task
    from mediaflow.catalog import passages
    from mediaflow.errors import MediaError
    from mediaflow.media.content import hash_of
    from mediaflow.media.originals import open_original
    from mediaflow.media.prepare import render
    from mediaflow.media.rendition import Rendition
    from mediaflow.settings import load_settings

    settings = load_settings()
    spent: dict[str, float] = defaultdict(float)
    start = time.perf_counter()
    tasks = {name: find_task(name)(settings) for name in settings.default_tasks()}
    for task in tasks.values():
        task.load()
    spent["load"] = time.perf_counter() - start
    start, cpu = time.perf_counter(), time.process_time()
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as folder:
        for part in _parts(paths, 1 if each else len(paths)):
            renditions: list[Rendition] = []
            before = time.perf_counter()
            for path in part:
                try:
                    with open_original(os.fsencode(path.absolute())) as file:
                        asset = hash_of(file)
                        renditions.append(render(file, Path(folder) / asset, settings, asset))
                except MediaError:
                    spent["failed"] += 1
            spent["prepare"] += time.perf_counter() - before
            texts: list[str] = []
            for name, task in tasks.items():
                before = time.perf_counter()
                fit = [r for r in renditions if (r.pictures if task.needs == "pictures" else r.audio)]
                for batch in _parts(fit, task.together):
                    for finding in task.analyse(batch):
                        texts += [passage.text for passage in passages.cut(name, finding.data)]
                spent[name] += time.perf_counter() - before
            before = time.perf_counter()
            if texts:
                tasks["embed"].encode_texts(texts)  # type: ignore[attr-defined]
            spent["texts"] += time.perf_counter() - before
    spent["cpu_seconds"] = time.process_time() - cpu
    spent["seconds"] = time.perf_counter() - start
    return {name: round(seconds, 2) for name, seconds in spent.items()}


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def main() -> None:
    """Run the loop and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", action="store_true")
    options = parser.parse_args()
    os.nice(5)  # as the workers' children are, so that neighbours weigh the same on both
    print(json.dumps(measure(options.folder, options.each)))


if __name__ == "__main__":
    main()
