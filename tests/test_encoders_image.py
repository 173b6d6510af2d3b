"""The default image space: pictures are found by German and English words, and by likeness."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mediaflow.models.encoders import image_encoder, image_space, visual_space, visual_vectors
from mediaflow.models.encoders.concepts import CONCEPTS, load_concepts
from mediaflow.models.encoders.conse import SPACE
from mediaflow.settings import load_settings

# The concepts of the space's name. Where they change, vectors change: change the space's name with them.
CONCEPTS_OF = {"conse-lite2-1": "adca407db5442bc5740a4d0750983a58f3c8d038640cfb5730755313b73fdd82"}


def test_there_is_a_german_and_an_english_word_for_every_class() -> None:
    concepts = load_concepts()
    assert len(concepts) == 1000
    assert all(concept.english and concept.german for concept in concepts)


def test_kinds_are_words_of_their_classes() -> None:
    assert "fish" in load_concepts()[0].english
    assert "Hund" in load_concepts()[207].german  # golden retriever


def test_the_space_has_another_name_when_the_concepts_change() -> None:
    assert hashlib.sha256(CONCEPTS.read_bytes()).hexdigest() == CONCEPTS_OF[SPACE]


def load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def encoder():
    load_settings.cache_clear()
    return image_encoder(load_settings())


@pytest.mark.slow
def test_vectors_are_float32_of_unit_length_for_pictures_of_any_shape(encoder) -> None:
    rng = np.random.default_rng(1)
    sizes = [(1, 1), (7, 900), (900, 7), (64, 64)]
    images = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]
    for vectors in (encoder.encode_images(images), visual_vectors(encoder, images)):
        assert vectors.dtype == np.float32
        assert len(vectors) == len(images)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert encoder.encode_images(images).shape[1] == encoder.dimension
    assert encoder.encode_queries(["x"]).shape == (1, encoder.dimension)


@pytest.mark.slow
def test_no_pictures_give_no_vectors(encoder) -> None:
    assert encoder.encode_images([]).shape == (0, encoder.dimension)


@pytest.mark.slow
def test_the_names_of_the_spaces_are_those_of_the_encoder(encoder) -> None:
    assert image_space(load_settings()) == encoder.space
    assert visual_space(load_settings()) == encoder.visual_space


@pytest.mark.slow
def test_a_query_encoder_gives_the_vectors_of_the_whole_one(encoder) -> None:
    questions = ["a cat", "Mann auf einem Motorrad"]
    alone = image_encoder(load_settings(), queries_only=True)
    np.testing.assert_allclose(alone.encode_queries(questions), encoder.encode_queries(questions), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("a cat", "chelsea.png"),
        ("Katze", "chelsea.png"),
        ("Tasse Kaffee", "coffee.png"),
        ("hot drink", "coffee.png"),
        ("Rakete", "rocket.jpg"),
        ("bird of prey", "prairie_falcon.jpg"),
        ("Greifvogel", "prairie_falcon.jpg"),
    ],
)
def test_words_find_the_picture_that_shows_it(encoder, media: Path, question: str, answer: str) -> None:
    names = ["chelsea.png", "coffee.png", "rocket.jpg", "prairie_falcon.jpg", "moon.png"]
    vectors = encoder.encode_images([load(media / "images/labelled" / name) for name in names])
    assert names[int((vectors @ encoder.encode_queries([question])[0]).argmax())] == answer


@pytest.mark.slow
def test_every_near_copy_is_nearer_than_any_other_picture(encoder, media: Path) -> None:
    rows = [json.loads(line) for line in (media / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    copies = {row["path"]: row["truth"]["group"] for row in rows if row["kind"] == "near_dup"}
    paths = list(copies)
    vectors = visual_vectors(encoder, [load(media / path) for path in paths])
    same = np.array([[copies[a] == copies[b] for a in paths] for b in paths])
    scores = vectors @ vectors.T
    assert scores[same].min() > scores[~same].max()
