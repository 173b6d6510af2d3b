"""Search in a library of 200,000 files: time and recall@10, by kind of question and by filter.

    python -m benchmarks.search_scale [--assets 200000] [--dimension 384] [--queries 20]
                                      [--home FOLDER] [--code FOLDER] [--json]

The library is made up and always the same (benchmarks/library.py). --home keeps it, with its snapshots, for
the next time; without, it is made in a temporary folder. --code names a checkout of another version, which is
then measured by these same questions; it needs a --home of its own.
Exact answers come from the catalog's rows, compared one by one. Each step runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.installation import PROJECT, PYTHON, Installation, arguments, print_table, run, say
from benchmarks.library import SETTINGS

GOAL_MS, GOAL_RECALL = 100.0, 0.98


def make(assets: int, dimension: int, _queries: int) -> dict[str, Any]:
    """The catalog, unless it is there."""
    from benchmarks.library import fill
    from mediaflow.catalog.database import catalog_path, connect

    if catalog_path().exists():
        return {}
    start = time.perf_counter()
    with closing(connect()) as db:
        fill(db, assets, dimension)
    return {"fill_seconds": time.perf_counter() - start, "catalog_mb": catalog_path().stat().st_size / 1e6}


def index(_assets: int, _dimension: int, _queries: int) -> dict[str, Any]:
    """The snapshots of both spaces, as the index worker makes them, unless they are there."""
    from mediaflow.catalog.database import connect
    from mediaflow.index.snapshot import build, current

    answer: dict[str, Any] = {}
    with closing(connect()) as db:
        for (space,) in db.execute("SELECT name FROM spaces ORDER BY name").fetchall():
            if current(db, space) is None:
                start = time.perf_counter()
                made = build(db, space)
                answer[f"build_{space}_seconds"] = time.perf_counter() - start
                answer[f"build_{space}_recall"] = made.recall
    return answer | ({"build_peak_mb": _peak_mb()} if answer else {})


def ask(_assets: int, _dimension: int, queries: int) -> dict[str, Any]:
    """All questions under all filters, in one warm process."""
    from benchmarks.search_questions import Catalog, measure
    from mediaflow.catalog.database import connect

    with closing(connect()) as db:
        truth = Catalog(db, queries)
        before = _peak_mb()
        return measure(db, truth) | {"search_peak_mb": _peak_mb(), "exact_peak_mb": before}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


STEPS: dict[str, Callable[[int, int, int], dict[str, Any]]] = {"fill": make, "build": index, "search": ask}


def main() -> None:
    """Measure and print; with --step, do one step on the home that is set (used by itself)."""
    parser = arguments(__doc__)
    parser.add_argument("--assets", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--queries", type=int, default=20, help="of each kind under each filter")
    parser.add_argument("--home", type=Path, help="folder that keeps the library")
    parser.add_argument("--code", type=Path, default=PROJECT, help="checkout of the version to measure")
    parser.add_argument("--step", choices=list(STEPS), help="one step, on MEDIAFLOW_HOME")
    options = parser.parse_args()
    if options.step:
        sys.path.insert(0, str(options.code))
        answer = STEPS[options.step](options.assets, options.dimension, options.queries)
        import mediaflow

        if Path(str(mediaflow.__file__)).parents[1] != options.code.resolve():
            sys.exit(f"This is mediaflow of {mediaflow.__file__}, not of {options.code}.")
        print(json.dumps(answer))
        return
    answer = {"assets": options.assets, "dimension": options.dimension, "queries": options.queries}
    with Installation(SETTINGS, options.home) as installation:
        for step in STEPS:
            say(step)
            given = [f"--{name}={getattr(options, name)}" for name in ("assets", "dimension", "queries")]
            command = [PYTHON, "-m", "benchmarks.search_scale", "--step", step, *given]
            command += ["--code", os.path.abspath(options.code)]
            answer |= json.loads(run(command, installation.environment).output)
    if options.json:
        print(json.dumps(answer))
    else:
        _print(answer)
    rows = answer["kinds"].values()
    good = all(cell["p95_ms"] < GOAL_MS for row in rows for cell in row.values()) and all(
        cell.get("recall", 1.0) >= GOAL_RECALL for row in rows for cell in row.values()
    )
    sys.exit(not good)


def _print(answer: dict[str, Any]) -> None:
    kinds: dict[str, dict[str, dict[str, float]]] = answer["kinds"]
    filters = list(next(iter(kinds.values())))
    for name, form in (("p50_ms", "{:.0f}"), ("p95_ms", "{:.0f}"), ("recall", "{:.3f}")):
        words = {"p50_ms": "ms, median", "p95_ms": "ms, p95", "recall": "recall@10"}[name]
        table = [(words, *filters)]
        for kind, cells in kinds.items():
            if any(name in cell for cell in cells.values()):
                shown = [form.format(cells[at][name]) if name in cells.get(at, {}) else "-" for at in filters]
                table.append((kind, *shown))
        print_table(table)
        print()
    rest = [(key.replace("_", " "), f"{value:,.3g}") for key, value in answer.items() if key != "kinds"]
    print_table([("figure", "value"), *rest])


if __name__ == "__main__":
    main()
