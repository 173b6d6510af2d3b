"""A search is no error and not wrong, whatever was added, forgotten, indexed and damaged before it."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediaflow.catalog import locations
from mediaflow.catalog.database import connect
from mediaflow.catalog.locations import Scope
from mediaflow.errors import ModelError, UsageError
from mediaflow.index import snapshot
from mediaflow.models import encoders
from mediaflow.ops.forget import forget
from mediaflow.search.engine import Searcher
from mediaflow.search.request import Request
from tests.spaces import DIMENSION, IMAGE, TEXT, Tiny, enter, text_vector, use_tiny_spaces

WORDS = ["tulip", "harbour", "Käse", "東京", "receipt"]
LIBRARIES = ["default", "other"]
NAMES = [f"{number}.jpg" for number in range(6)]

ADD = st.tuples(
    st.just("add"),
    st.sampled_from(NAMES),
    st.sampled_from(LIBRARIES),
    st.none() | st.sampled_from(WORDS),
    st.none() | st.sampled_from(WORDS),
    st.sampled_from(["image", "video", "audio"]),
    st.integers(0, 4),
    st.sampled_from([None, "safe", "unsafe"]),
)
OTHER = st.tuples(
    st.sampled_from(["forget", "gone", "back"]), st.sampled_from(NAMES), st.sampled_from(LIBRARIES)
) | st.sampled_from(
    [
        ("forget all",),
        ("rebuild",),
        ("follow",),
        ("cut",),
        ("not a number",),
        ("dimension",),
        ("other model",),
    ]
    + [("damage", name, how) for name in ("faiss", "npz", "json") for how in ("missing", "cut", "flipped")]
)
QUERY = st.sampled_from(WORDS) | st.text(st.characters(), max_size=8)
LIMITS = st.sampled_from([1, 2, 10])
WHERE = st.sampled_from([None, "image", "ocr", "speech", "name"])
REQUEST = st.builds(
    dict,
    text=QUERY,
    where=WHERE,
    kind=st.sampled_from([None, None, "image", "audio"]),
    safe=st.booleans(),
    since=st.none() | st.integers(0, 5),
    until=st.none() | st.integers(0, 5),
    library=st.sampled_from(LIBRARIES),
    limit=LIMITS,
)


@dataclass
class World:
    """A home with a catalog, and the dimension of the model that its settings name."""

    home: Path
    db: sqlite3.Connection
    dimension: int = DIMENSION

    def do(self, step: tuple[object, ...]) -> None:
        """One thing that happens to a catalog and its index."""
        what, *how = step
        getattr(self, "_" + str(what).replace(" ", "_"))(*how)

    def _add(
        self, name: str, library: str, shows: str | None, says: str | None, kind: str, when: int, verdict: str
    ) -> None:
        dimension = self.db.execute("SELECT dimension FROM spaces WHERE name = ?", (IMAGE,)).fetchone()
        if dimension and dimension[0] != DIMENSION:
            return  # the finding would be refused
        row = self.db.execute(
            "SELECT changed FROM locations WHERE library = ? AND folder = ? AND name = ?",
            (library, b"/a", name.encode()),
        ).fetchone()
        if row is None:
            enter(
                self.db, f"/a/{name}", shows=shows, says=says, kind=kind, library=library, when=when,
                verdict=verdict,
            )  # fmt: skip

    def _forget(self, name: str, library: str) -> None:
        forget(self.db, Scope(library, (f"/a/{name}".encode(),)))

    def _forget_all(self) -> None:
        for library in LIBRARIES:
            forget(self.db, Scope(library))

    def _gone(self, name: str, library: str) -> None:
        locations.mark_gone(self.db, library, b"/a", [name.encode()])

    def _back(self, name: str, library: str) -> None:
        locations.mark_back(self.db, library, b"/a", [name.encode()])

    def _rebuild(self) -> None:
        snapshot.rebuild(self.db)

    def _follow(self) -> None:
        snapshot.follow(self.db, 1)

    def _cut(self) -> None:
        self.db.execute("UPDATE vectors SET value = substr(value, 1, 3) WHERE id % 3 = 1")

    def _not_a_number(self) -> None:
        bad = np.full(DIMENSION, np.nan, "<f2").tobytes()
        self.db.execute("UPDATE vectors SET value = ? WHERE id % 3 = 2", (bad,))

    def _dimension(self) -> None:
        self.db.execute("UPDATE spaces SET dimension = 5 WHERE name = ?", (IMAGE,))

    def _other_model(self) -> None:
        self.dimension = 3 if self.dimension == DIMENSION else DIMENSION

    def _damage(self, suffix: str, how: str) -> None:
        for path in (self.home / "index").glob(f"*/*.{suffix}"):
            whole = path.read_bytes()
            if how == "missing":
                path.unlink()
            elif how == "cut":
                path.write_bytes(whole[: len(whole) // 2])
            else:
                middle = len(whole) // 2
                path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :])

    def nearest(self, request: Request) -> dict[str, float]:
        """The exact similarity to the question of each asset that passes and shows something, by hash."""
        rows = self.db.execute(
            "SELECT a.id, a.hash, a.kind, l.mtime_ns / 1e9 AS moment, v.value,"
            " (SELECT json_extract(f.data, '$.verdict') FROM findings f"
            "  WHERE f.asset = a.id AND f.task = 'nsfw') AS verdict"
            " FROM assets a JOIN locations l ON l.asset = a.id JOIN vectors v ON v.asset = a.id"
            " WHERE l.library = ? AND l.gone IS NULL AND v.space = ?",
            (request.library, IMAGE),
        ).fetchall()
        similar = {}
        for row in rows:
            values = np.frombuffer(row["value"][: len(row["value"]) // 2 * 2], "<f2").astype(np.float32)
            moment = row["moment"]
            if (
                values.shape == (DIMENSION,)
                and np.isfinite(values).all()
                and request.kind in (None, row["kind"])
                and (not request.safe or row["verdict"] == "safe")
                and (-math.inf if request.since is None else request.since) <= moment
                and moment < (math.inf if request.until is None else request.until)
            ):
                similar[row["hash"]] = float(values @ text_vector(request.question))
        return similar


@pytest.fixture(scope="module")
def tiny() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    first=st.lists(ADD, max_size=6),
    steps=st.lists(st.tuples(ADD | OTHER, REQUEST), min_size=1, max_size=6),
)
def test_a_search_is_right_in_any_state(
    tmp_path_factory: pytest.TempPathFactory,
    tiny: pytest.MonkeyPatch,
    first: list[tuple[object, ...]],
    steps: list[tuple[tuple[object, ...], dict[str, object]]],
) -> None:
    home = tmp_path_factory.mktemp("world")
    use_tiny_spaces(tiny)
    tiny.setenv("MEDIAFLOW_HOME", str(home))
    with closing(connect()) as db:
        world = World(home, db)
        tiny.setattr(encoders, "text_encoder", lambda _settings: Tiny(TEXT, world.dimension))
        tiny.setattr(encoders, "image_encoder", lambda _settings, **_: Tiny(IMAGE, world.dimension))
        for step in first:
            world.do(step)
        warm = Searcher(db)
        for step, asked in steps:
            world.do(step)
            for searcher in (warm, Searcher(db)) if step[0] != "other model" else (Searcher(db),):
                _check(world, searcher, Request(**asked))  # type: ignore[arg-type]
            if step[0] == "other model":
                warm = Searcher(db)


def _check(world: World, searcher: Searcher, request: Request) -> None:
    try:
        answer = searcher.search(request)
    except UsageError:
        assert not request.question
        return
    except ModelError:
        assert (request.where, world.dimension) != ("image", DIMENSION) or _wrong_dimension(world)
        return
    scores = [result.score for result in answer.results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert all(os.path.dirname(result.path) == "/a" for result in answer.results)
    if request.where == "image" and not _wrong_dimension(world):
        similar = world.nearest(request)
        best = sorted(similar.values(), reverse=True)[: request.limit]
        found = [similar[result.asset] for result in answer.results]
        np.testing.assert_allclose(sorted(found, reverse=True), best, atol=0.005)


def _wrong_dimension(world: World) -> bool:
    row = world.db.execute("SELECT dimension FROM spaces WHERE name = ?", (IMAGE,)).fetchone()
    return row is not None and row[0] != DIMENSION
