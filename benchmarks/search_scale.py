"""A space of 300,000 vectors: its snapshot's recall@10 against exact search, time and memory.

    python -m benchmarks.search_scale [--vectors 300000] [--dimension 384] [--json]

The vectors are made up (benchmarks/vectors.py): clustered, as real ones are. Queries are vectors that are not
in the space. Building and searching run in processes of their own, so that peak memory is theirs.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from statistics import median, quantiles

from benchmarks.installation import PYTHON, Installation, arguments, print_answer, run, say

SPACE = "made up"
QUERIES = 200


def fill_space(vectors: int, dimension: int) -> dict[str, float]:
    """Assets with a vector each."""
    from benchmarks.vectors import fill
    from mediaflow.catalog.database import catalog_path, connect

    start = time.perf_counter()
    with closing(connect()) as db:
        fill(db, SPACE, vectors, dimension)
    return {"fill_seconds": time.perf_counter() - start, "catalog_mb": catalog_path().stat().st_size / 1e6}


def build_snapshot(_vectors: int, _dimension: int) -> dict[str, float]:
    """The snapshot, as the index worker and `mediaflow index rebuild` make it."""
    from mediaflow.catalog.database import connect
    from mediaflow.index.snapshot import build, space_folder

    start = time.perf_counter()
    with closing(connect()) as db:
        snapshot = build(db, SPACE)
    size = (space_folder(SPACE) / snapshot.file).stat().st_size
    return {
        "build_seconds": time.perf_counter() - start,
        "build_peak_mb": _peak_mb(),
        "snapshot_mb": size / 1e6,
        "lists_looked_into": snapshot.probes,
        "recall_said": snapshot.recall,
    }


def search_space(vectors: int, dimension: int) -> dict[str, float]:
    """Open the snapshot and ask it; exact answers are those of the catalog's vectors, one by one."""
    import numpy as np

    from benchmarks.vectors import clustered
    from mediaflow.catalog.database import connect
    from mediaflow.index.reader import SpaceReader
    from mediaflow.index.vectors import vectors as read_vectors

    # The same clusters, other members: what `fill` drew is continued.
    queries = deque(clustered(vectors + QUERIES, dimension), maxlen=1)[0][-QUERIES:]
    with closing(connect()) as db:
        start = time.perf_counter()
        reader = SpaceReader(SPACE)
        reader.refresh(db)
        found = [reader.search(queries[0], 10)]
        first = time.perf_counter() - start
        seconds = []
        for query in queries[1:]:
            start = time.perf_counter()
            found.append(reader.search(query, 10))
            seconds.append(time.perf_counter() - start)
        peak = _peak_mb()
        scores, ids = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        exact = 0.0
        for piece, values in read_vectors(db, SPACE, 0):
            start = time.perf_counter()
            scores = np.concatenate([scores, queries @ values.T], axis=1)
            exact += time.perf_counter() - start
            ids = np.concatenate([ids, np.tile(piece, (len(queries), 1))], axis=1)
            best = np.argsort(-scores, axis=1)[:, :10]
            scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
    hits = [len({id for id, _ in row} & set(truth.tolist())) for row, truth in zip(found, ids, strict=True)]
    return {
        "recall_at_10": sum(hits) / (10 * len(queries)),
        "open_and_first_ms": first * 1000,
        "query_ms": median(seconds) * 1000,
        "query_p95_ms": quantiles(seconds, n=20)[-1] * 1000,
        "exact_query_ms": exact / len(queries) * 1000,
        "search_peak_mb": peak,
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


STEPS: dict[str, Callable[[int, int], dict[str, float]]] = {
    "fill": fill_space,
    "build": build_snapshot,
    "search": search_space,
}
SHOWN = {
    "build_seconds": "snapshot built, seconds",
    "build_peak_mb": "peak memory while building, MB",
    "snapshot_mb": "snapshot on disk, MB",
    "lists_looked_into": "lists looked into",
    "recall_said": "recall@10 as the snapshot says",
    "recall_at_10": "recall@10 against exact, goal 0.98",
    "open_and_first_ms": "opening and first query, ms",
    "query_ms": "a query, median ms",
    "query_p95_ms": "a query, 95th percentile ms",
    "exact_query_ms": "exact, one of a batch of 200, ms",
    "search_peak_mb": "peak memory of searching, MB",
}


def main() -> None:
    """Measure and print; with --step, do one step on the home that is set (used by itself)."""
    parser = arguments(__doc__)
    parser.add_argument("--vectors", type=int, default=300_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--step", choices=list(STEPS), help="one step, on MEDIAFLOW_HOME")
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step](options.vectors, options.dimension)))
        return
    answer: dict[str, float] = {"vectors": options.vectors, "dimension": options.dimension}
    with Installation() as installation:
        for step in STEPS:
            say(step)
            arguments_ = [f"--{name}={getattr(options, name)}" for name in ("vectors", "dimension")]
            command = [PYTHON, "-m", "benchmarks.search_scale", "--step", step, *arguments_]
            answer |= json.loads(run(command, installation.environment).output)
    answer = {name: round(value, 3) for name, value in answer.items()}
    table = [(f"{options.vectors:,} vectors of {options.dimension}", "")]
    table += [(words, f"{answer[name]:g}") for name, words in SHOWN.items()]
    print_answer(answer, table, options.json)
    sys.exit(answer["recall_at_10"] < 0.98)


if __name__ == "__main__":
    main()
