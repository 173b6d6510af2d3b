"""Whatever state catalog, index and models are in, a search answers, or says what to do; and doctor knows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mediaflow.catalog import assets
from mediaflow.catalog.locations import Scope
from mediaflow.errors import ConfigError, ModelError, UsageError
from mediaflow.index import snapshot
from mediaflow.index.labels import path_of
from mediaflow.models import encoders
from mediaflow.ops import doctor
from mediaflow.ops.forget import forget
from mediaflow.search.engine import Searcher
from mediaflow.search.request import Answer, Request
from tests.spaces import DIMENSION, IMAGE, TEXT, Tiny, enter, name_of, use_tiny_spaces


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    use_tiny_spaces(monkeypatch)


def ask(db: sqlite3.Connection, text: str = "", **filters: object) -> Answer:
    return Searcher(db).search(Request(text, **filters))  # type: ignore[arg-type]


def names(db: sqlite3.Connection, text: str = "", **filters: object) -> list[str]:
    return [name_of(result.path) for result in ask(db, text, **filters).results]


def told(db: sqlite3.Connection, check: str) -> list[str]:
    """What the doctor says of a check besides that all is well."""
    return [
        finding.what
        for finding in doctor.examine()
        if finding.check == check and finding.state != "ok" and "models.yaml" not in finding.what
    ]


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.new("L", (32, 32), 120).save(tmp_path / "example.png")
    return str(tmp_path / "example.png")


def two_photos_and_a_memo(db: sqlite3.Connection) -> None:
    enter(db, "/a/flower.jpg", shows="flower")
    enter(db, "/a/car.jpg", shows="car")
    enter(db, "/a/memo.mp3", says="the harvest of apples", kind="audio")


def only_sound(db: sqlite3.Connection) -> None:
    enter(db, "/a/memo.mp3", says="the harvest of apples", kind="audio")


def nothing(_db: sqlite3.Connection) -> None:
    pass


def all_forgotten(db: sqlite3.Connection) -> None:
    two_photos_and_a_memo(db)
    snapshot.rebuild(db)
    forget(db, Scope("default"))


def sparse_ids(db: sqlite3.Connection) -> None:
    """Ids of which none is a multiple of what the background used to be sampled by."""
    for number in range(2500):
        enter(db, f"/many/{number}.jpg", shows=f"word{number}")
    snapshot.rebuild(db)
    enter(db, "/a/flower.jpg", shows="flower")
    forget(db, Scope("default", (b"/many",)))


@pytest.mark.parametrize("build", [nothing, only_sound, two_photos_and_a_memo, all_forgotten, sparse_ids])
@pytest.mark.parametrize("indexed", [False, True])
def test_any_question_is_answered_in_any_state(
    db: sqlite3.Connection, picture: str, build: Callable[[sqlite3.Connection], None], indexed: bool
) -> None:
    build(db)
    if indexed:
        snapshot.rebuild(db)
    for where in (None, "image", "ocr", "speech", "name"):
        ask(db, "flower", where=where)
    ask(db, image=picture)
    with pytest.raises(UsageError):
        ask(db, like="/a/unknown.jpg")


def test_a_space_that_lost_its_last_vector_leaves_the_others_searched(db: sqlite3.Connection) -> None:
    two_photos_and_a_memo(db)
    forget(db, Scope("default", (b"/a/memo.mp3",)))
    assert names(db, "a flower")[0] == "flower.jpg"
    assert told(db, "spaces") == []


def test_after_a_large_forget_the_rest_is_found(db: sqlite3.Connection) -> None:
    sparse_ids(db)
    assert names(db, "flower", where="image") == ["flower.jpg"]


# --- damage -----------------------------------------------------------------------------------


def cut_a_vector(db: sqlite3.Connection) -> None:
    db.execute("UPDATE vectors SET value = substr(value, 1, 5) WHERE space = ?", (IMAGE,))


def empty_a_vector(db: sqlite3.Connection) -> None:
    db.execute("UPDATE vectors SET value = x''")


def vector_of_text(db: sqlite3.Connection) -> None:
    db.execute("UPDATE vectors SET value = 'sixteen letters.'")


def not_a_number(db: sqlite3.Connection) -> None:
    db.execute("UPDATE vectors SET value = ?", (np.full(DIMENSION, np.nan, "<f2").tobytes(),))


def infinite(db: sqlite3.Connection) -> None:
    db.execute("UPDATE vectors SET value = ?", (np.full(DIMENSION, np.inf, "<f2").tobytes(),))


@pytest.mark.parametrize("damage", [cut_a_vector, empty_a_vector, vector_of_text, not_a_number, infinite])
@pytest.mark.parametrize("indexed", [False, True])
def test_a_bad_vector_costs_that_vector_and_doctor_has_it_made_again(
    db: sqlite3.Connection, damage: Callable[[sqlite3.Connection], None], indexed: bool
) -> None:
    two_photos_and_a_memo(db)
    last = db.execute("SELECT MAX(id) FROM vectors").fetchone()[0]
    enter(db, "/a/tree.jpg", shows="tree", says="a text")
    kept = db.execute("SELECT id, value FROM vectors WHERE id > ?", (last,)).fetchall()
    damage(db)
    db.executemany("UPDATE vectors SET value = ? WHERE id = ?", [(row["value"], row["id"]) for row in kept])
    if indexed:
        snapshot.rebuild(db)
    assert names(db, "tree", where="image") == ["tree.jpg"]
    assert ask(db, like="/a/tree.jpg").results == []
    assert told(db, "spaces")
    assert told(db, "spaces") == [], "the second time all is well"
    wanted = db.execute("SELECT COUNT(*) FROM work WHERE task = 'embed' AND state = 'wanted'").fetchone()[0]
    assert wanted == (2 if damage is cut_a_vector else 3)


def test_values_as_large_as_half_precision_holds_are_scored(db: sqlite3.Connection) -> None:
    two_photos_and_a_memo(db)
    for number in range(5):
        enter(db, f"/a/{number}.jpg", shows=f"number {number}")
    signs = np.array([1, -1] * (DIMENSION // 2), dtype="<f2")
    db.execute("UPDATE vectors SET value = ? WHERE id = 1", ((signs * np.float16(65504)).tobytes(),))
    assert all(0 <= result.score <= 1 for result in ask(db, "flower").results)


def description_of_other_types(folder: Path) -> None:
    """A snapshot's description with a word where a number must be."""
    path = folder / "current.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"last": "x"}))


def description_that_is_a_list(folder: Path) -> None:
    (folder / "current.json").write_text("[]")


def description_in_no_encoding(folder: Path) -> None:
    (folder / "current.json").write_bytes(b"\xff\xfe{")


def other_dimension(folder: Path) -> None:
    path = folder / "current.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dimension": 3}))


def no_labels(folder: Path) -> None:
    for path in folder.glob("*.npz"):
        path.unlink()


def labels_cut_short(folder: Path) -> None:
    for path in folder.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:200])


def labels_damaged(folder: Path) -> None:
    for path in folder.glob("*.npz"):
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 3] ^= 0xFF
        path.write_bytes(whole)


def no_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("a file where the folder was")


DAMAGES = [
    description_of_other_types,
    description_that_is_a_list,
    description_in_no_encoding,
    other_dimension,
    no_labels,
    labels_cut_short,
    labels_damaged,
    no_folder,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_wrong_with_a_snapshot_the_search_is_right(
    db: sqlite3.Connection, damage: Callable[[Path], None]
) -> None:
    two_photos_and_a_memo(db)
    snapshot.rebuild(db)
    damage(snapshot.space_folder(IMAGE))
    assert names(db, "flower", where="image")[0] == "flower.jpg"
    assert names(db, "flower", where="image", library="other") == []
    if damage is not no_folder:
        assert told(db, "index")
        assert told(db, "index") == []
        assert path_of(next(snapshot.space_folder(IMAGE).glob("*.faiss"))).exists()


# --- models -----------------------------------------------------------------------------------


def refuse(error: Exception) -> Callable[..., object]:
    def load(*_: object, **__: object) -> object:
        raise error

    return load


MISSING = [
    ModelError("Model minilm: it is missing. Run: mediaflow models pull minilm"),
    ConfigError("The model needs the extra `torch`, which is not installed. Run: scripts/setup --torch"),
]


@pytest.mark.parametrize("error", MISSING)
def test_a_missing_model_costs_its_space_and_is_told(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, picture: str, error: Exception
) -> None:
    enter(db, "/a/flower.jpg", shows="flower", says="a receipt")
    enter(db, "/a/receipt.jpg", shows="car", says="flower shop")
    monkeypatch.setattr(encoders, "image_encoder", refuse(error))
    answer = ask(db, "flower")
    assert {name_of(result.path) for result in answer.results} >= {"receipt.jpg"}
    assert [str(error) in warning for warning in answer.warnings] == [True]
    assert ask(db, "flower", where="ocr").warnings == []
    assert ask(db, like="/a/flower.jpg").results, "which needs no model"
    for asked in ({"text": "flower", "where": "image"}, {"image": picture}):
        with pytest.raises(type(error), match="Run: "):
            ask(db, **asked)
    monkeypatch.setattr(encoders, "text_encoder", refuse(error))
    assert len(ask(db, "flower").warnings) == 2
    assert names(db, "flower", where="ocr") == ["receipt.jpg"]


def test_no_model_is_missed_where_nothing_was_embedded(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("text_encoder", "image_encoder"):
        monkeypatch.setattr(encoders, name, refuse(MISSING[0]))
    assert ask(db, "flower") == Answer([], [])


class Broken(Tiny):
    """A model whose files are not what they should be."""

    def __init__(self, vectors: np.ndarray | None) -> None:
        super().__init__(TEXT)
        self.vectors = vectors

    def encode_texts(self, texts: object) -> np.ndarray:
        if self.vectors is None:
            raise RuntimeError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT")
        return self.vectors

    encode_queries = encode_texts


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (None, "INVALID_ARGUMENT"),
        (np.ones((1, 3), np.float32), "3 values.*8"),
        (np.full((1, DIMENSION), np.nan, np.float32), "not numbers"),
        (np.ones((0, DIMENSION), np.float32), "fails"),
    ],
)
def test_a_model_that_fails_costs_its_space(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, vectors: np.ndarray | None, words: str
) -> None:
    enter(db, "/a/flower.jpg", shows="flower", says="flower")
    monkeypatch.setattr(encoders, "image_encoder", lambda *_, **__: Broken(vectors))
    answer = ask(db, "flower")
    assert [name_of(result.path) for result in answer.results] == ["flower.jpg"]
    with pytest.raises(ModelError, match=words):
        ask(db, "flower", where="image")
    assert len(answer.warnings) == 1


def test_a_space_of_another_dimension_is_told_by_search_and_corrected_by_doctor(
    db: sqlite3.Connection,
) -> None:
    two_photos_and_a_memo(db)
    db.execute("UPDATE spaces SET dimension = 5 WHERE name = ?", (IMAGE,))
    assert ask(db, "flower", where="image").results == []
    assert told(db, "spaces") == [f"{IMAGE}: its vectors have 8 values, not 5 as the catalog says: corrected"]
    assert names(db, "flower", where="image")[0] == "flower.jpg"


def test_a_space_without_vectors_is_counted_by_the_doctor(db: sqlite3.Connection) -> None:
    only_sound(db)
    assets.forget(db, 1) if db.execute("DELETE FROM locations") else None
    said = [finding.what for finding in doctor.examine() if finding.check == "spaces"]
    assert said == ["1 space, 1 of them without vectors, all vectors whole"]
