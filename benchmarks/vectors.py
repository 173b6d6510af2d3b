"""Made-up vectors that lie as real ones do, in clusters, and a catalog filled with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np

PIECE = 20_000
CLUSTERS = 1000
SPREAD = 0.8  # length of a vector's own part beside its cluster's
INTRINSIC = 48  # directions in which the members of a cluster differ from each other
WORDS = "invoice harbour birthday mountain bicycle meeting dentist kitchen tulip concert".split()


def clustered(count: int, dimension: int, seed: int = 0, members: int | None = None) -> Iterator[np.ndarray]:
    """Unit vectors (n, dimension) float32 in pieces, of clusters of unlike sizes.

    Within a cluster they differ in few directions, as vectors of real media do; vectors that are
    random in all directions have no neighbours worth finding, and no index finds them. Another seed for the
    `members` draws others of the same clusters.
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((CLUSTERS, dimension)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    directions = rng.standard_normal((INTRINSIC, dimension)).astype(np.float32) / dimension**0.5
    sizes = rng.dirichlet(np.full(CLUSTERS, 0.7))
    if members is not None:
        rng = np.random.default_rng(members)
    for start in range(0, count, PIECE):
        number = min(PIECE, count - start)
        own = rng.standard_normal((number, INTRINSIC)).astype(np.float32) @ directions
        values = centres[rng.choice(CLUSTERS, number, p=sizes)] + own * (SPREAD / INTRINSIC**0.5)
        yield values / np.linalg.norm(values, axis=1, keepdims=True)


def fill(db: sqlite3.Connection, space: str, count: int, dimension: int, source: str = "picture") -> None:
    """Enter `count` assets with a location, a passage and a vector in `space` each, all made up."""
    from mediaflow.catalog import assets, findings, locations, passages, work
    from mediaflow.catalog.database import transaction
    from mediaflow.catalog.locations import Candidate

    number = 0
    for piece in clustered(count, dimension):
        with transaction(db):
            for values in piece:
                file = Candidate(b"/made/up", b"%s %d.jpg" % (space.encode(), number), 1, 1, None)
                [location] = locations.enqueue(db, "default", 0, "none", [file])
                asset = assets.add(db, f"{space} {number}", "image", 1, {"width": 8, "height": 8})
                locations.prepared(db, location, asset)
                text = " ".join(WORDS[number // step % len(WORDS)] for step in (1, 7, 97))
                passages.replace(db, asset, "ocr", [passages.Passage(text)])
                findings.store_vectors(db, asset, space, [source], [(source, 0, None, None, values)])
                work.finish(db, asset, "embed", space)
                number += 1
