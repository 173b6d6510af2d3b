"""Task `embed`: a vector for every picture of a rendition, in every image space, with its page and time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.embed import CHUNK, Embed
from jobs.task import find_task
from mediaflow.errors import MediaError
from mediaflow.media.rendition import Picture, Rendition
from mediaflow.models.encoders import encoder_models, image_space, text_space, visual_space
from mediaflow.models.registry import find_model
from mediaflow.settings import load_settings


@pytest.fixture(scope="module")
def task() -> Embed:
    load_settings.cache_clear()
    task = Embed(load_settings())
    task.load()
    return task


def rendition(folder: Path, colours: list[str], **place: float) -> Rendition:
    folder.mkdir()
    pictures = []
    for index, colour in enumerate(colours):
        Image.new("RGB", (80, 60), colour).save(folder / f"{index}.jpg")
        where = {name: index + start for name, start in place.items()}
        pictures.append(Picture(f"{index}.jpg", 80, 60, **where))
    return Rendition("0" * 64, "image", folder, pictures=tuple(pictures))


def test_it_is_found_by_its_name_and_wants_pictures() -> None:
    assert find_task("embed") is Embed
    assert Embed.needs == "pictures"


def test_its_spaces_are_named_without_loading_a_model() -> None:
    settings = load_settings()
    assert Embed(settings).image_space == image_space(settings)
    assert Embed(settings).text_space == text_space(settings)


def test_every_model_that_the_default_encoders_need_is_pulled_by_default() -> None:
    needed = encoder_models(load_settings())
    assert needed
    assert all(find_model(name).default for name in needed)


@pytest.mark.slow
def test_a_photo_gets_one_vector_in_each_image_space(task: Embed, tmp_path: Path) -> None:
    (finding,) = task.analyse([rendition(tmp_path / "a", ["red"])])
    assert finding.data == {}
    settings = load_settings()
    assert [vector.space for vector in finding.vectors] == [image_space(settings), visual_space(settings)]
    for vector in finding.vectors:
        assert vector.values.dtype == np.float32
        assert np.linalg.norm(vector.values) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_frames_keep_their_times_and_pages_their_numbers(task: Embed, tmp_path: Path) -> None:
    video = rendition(tmp_path / "video", ["red", "green", "blue"], time=0.5)
    pages = rendition(tmp_path / "pages", ["white", "black"], page=1)
    of_video, of_pages = task.analyse([video, pages])
    space = image_space(load_settings())
    assert [vector.time for vector in of_video.vectors if vector.space == space] == [0.5, 1.5, 2.5]
    assert [vector.page for vector in of_pages.vectors if vector.space == space] == [1, 2]


@pytest.mark.slow
def test_pictures_of_a_batch_get_the_vectors_they_get_alone(task: Embed, tmp_path: Path) -> None:
    colours = ["red", "green", "blue", "white", "black", "orange"] * (CHUNK // 6 + 1)
    batch = [rendition(tmp_path / "many", colours), rendition(tmp_path / "one", ["yellow"])]
    together = task.analyse(batch)
    for part, finding in zip(batch, together, strict=True):
        (alone,) = task.analyse([part])
        assert [vector.space for vector in finding.vectors] == [vector.space for vector in alone.vectors]
        for mine, other in zip(finding.vectors, alone.vectors, strict=True):
            assert mine.values @ other.values == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_a_rendition_without_pictures_gets_no_vectors(task: Embed, tmp_path: Path) -> None:
    assert task.analyse([rendition(tmp_path / "none", [])])[0].vectors == ()


@pytest.mark.slow
def test_a_picture_that_is_gone_is_worth_another_try(task: Embed, tmp_path: Path) -> None:
    gone = rendition(tmp_path / "gone", ["red"])
    gone.path("0.jpg").unlink()
    with pytest.raises(MediaError) as raised:
        task.analyse([gone])
    assert not raised.value.permanent


@pytest.mark.slow
def test_texts_get_vectors_of_the_text_space(task: Embed) -> None:
    vectors = task.encode_texts(["Rechnung vom März", "invoice of March", "ein Hund am Strand"])
    assert vectors.shape[0] == 3
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
