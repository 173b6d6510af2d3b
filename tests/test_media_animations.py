"""Animations and collections of photos: every frame that differs, with its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Rendition
from mediaflow.settings import load_settings


def frame(word: str = "", size: tuple[int, int] = (400, 150), ground: str = "white") -> Image.Image:
    image = Image.new("RGB", size, ground)
    ImageDraw.Draw(image).text((40, 40), word, "black", font_size=40)
    return image


BLACK = frame(ground="black")
WORDS = ("Kranich", "Specht", "Reiher")


def render(
    path: Path, frames: list[Image.Image], form: str, max_pages: int = 50, duration: Any = 500, **options: Any
) -> Rendition:
    import pillow_heif

    pillow_heif.register_heif_opener()
    timed = {} if form in ("HEIF", "TIFF") else {"duration": duration}
    frames[0].save(path, form, save_all=True, append_images=frames[1:], **timed, **options)
    settings = load_settings()
    changed = settings.renditions.model_copy(update={"max_pages": max_pages})
    return make_rendition(
        str(path), path.with_suffix(".rendition"), settings.model_copy(update={"renditions": changed})
    )


def values(rendition: Rendition, name: str | None) -> np.ndarray:
    with Image.open(rendition.path(name or "")) as image:
        return np.asarray(image.convert("L"), int)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_frames_after_a_black_one_are_kept_with_their_times(tmp_path: Path, form: str) -> None:
    rendition = render(tmp_path / "a", [BLACK, *map(frame, WORDS)], form)
    assert rendition.kind == "image"
    assert [picture.time for picture in rendition.pictures] == [0.5, 1.0, 1.5]
    assert "warning" not in rendition.media
    assert values(rendition, rendition.thumbnail).mean() > 150
    for number in range(3):
        expected = np.asarray(frame(WORDS[number]).convert("L"), int)
        assert np.abs(values(rendition, rendition.pictures[number].file) - expected).mean() < 8


def test_a_collection_of_photos_has_numbered_pictures(tmp_path: Path) -> None:
    rendition = render(tmp_path / "a", [*map(frame, WORDS), frame(WORDS[0])], "HEIF")
    assert [(picture.page, picture.time) for picture in rendition.pictures] == [
        (1, None),
        (2, None),
        (3, None),
    ]
    assert rendition.media["pages"] == 3


def test_frames_that_hardly_differ_cost_one_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    still = np.asarray(frame("Kranich"), int)
    frames = [
        Image.fromarray((still + noise.integers(-6, 7, still.shape)).clip(0, 255).astype(np.uint8))
        for _ in range(30)
    ]
    assert len(render(tmp_path / "a", frames, "WEBP").pictures) == 1


def test_a_frame_that_comes_back_is_not_kept_again(tmp_path: Path) -> None:
    rendition = render(tmp_path / "a", [frame("Kranich"), frame("Specht")] * 5, "GIF")
    assert [picture.time for picture in rendition.pictures] == [0.0, 0.5]


def test_colours_without_letters_are_frames_too(tmp_path: Path) -> None:
    rendition = render(tmp_path / "a", [frame(ground="red"), frame(ground="blue")], "GIF")
    assert len(rendition.pictures) == 2


def test_more_different_frames_than_are_kept_are_spread_over_the_animation(tmp_path: Path) -> None:
    rendition = render(tmp_path / "a", [frame(f"Bild {n} {n}") for n in range(20)], "GIF", max_pages=5)
    times = [picture.time or 0.0 for picture in rendition.pictures]
    assert len(times) == 5
    assert times[-1] - times[0] > 7
    assert rendition.media["warning"] == "only 5 of the different frames were kept"
    assert len(list(rendition.folder.glob("page-*.jpg"))) == 5


def test_of_motion_a_frame_every_two_seconds_is_kept(tmp_path: Path) -> None:
    frames = [frame(f"{n} {n * 37}", (200, 100)) for n in range(150)]
    rendition = render(tmp_path / "a", frames, "GIF", duration=100)
    assert 13 <= len(rendition.pictures) <= 16  # 8 at first, then one of every 2 of the 14 s that are left
    assert rendition.media["warning"] == "of quick frames, one every 2 s was kept"
    assert len(list(rendition.folder.glob("page-*.jpg"))) == len(rendition.pictures)


def test_a_frame_that_stays_among_motion_is_kept(tmp_path: Path) -> None:
    frames = [frame(f"{n} {n * 37}", (200, 100)) for n in range(60)]
    durations = [1000 if n in (17, 45) else 50 for n in range(60)]
    times = [picture.time for picture in render(tmp_path / "a", frames, "GIF", duration=durations).pictures]
    assert 0.85 in times  # the 18th
    assert 0.05 * 44 + 1 in times  # the 46th


def test_all_of_a_few_quick_frames_are_kept(tmp_path: Path) -> None:
    assert len(render(tmp_path / "a", [*map(frame, WORDS)], "GIF", duration=20).pictures) == 3


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF", "HEIF"])
def test_a_still_has_neither_page_nor_time(tmp_path: Path, form: str) -> None:
    (only,) = render(tmp_path / "a", [frame("Kranich")], form).pictures
    assert (only.page, only.time) == (None, None)


def test_an_animation_of_nothing_but_black_is_one_picture(tmp_path: Path) -> None:
    assert len(render(tmp_path / "a", [BLACK] * 4, "WEBP").pictures) == 1


def test_pages_of_a_scan_beside_a_damaged_one_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    render(path, [frame(word) for word in WORDS], "TIFF", compression="tiff_adobe_deflate")
    for broken in range(3):
        data = bytearray(path.read_bytes())
        with Image.open(path) as image:
            image.seek(broken)
            strips = [image.tag_v2[tag] for tag in (273, 279)]  # type: ignore[attr-defined]
        for at, size in zip(*strips, strict=True):
            data[at : at + size] = b"\xff" * size
        other = tmp_path / f"broken-{broken}"
        other.write_bytes(data)
        rendition = make_rendition(str(other), tmp_path / f"r{broken}", load_settings())
        assert [picture.page for picture in rendition.pictures] == [n + 1 for n in range(3) if n != broken]
        assert rendition.media["warning"] == "some pages are damaged: they were left out"


def test_a_thumbnail_before_the_page_of_a_tiff_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a"
    small = frame("Kranich", (40, 15))
    big = frame("Kranich")
    big.encoderinfo = {"tiffinfo": {254: 0}}  # type: ignore[attr-defined]
    small.save(path, "TIFF", save_all=True, append_images=[big], tiffinfo={254: 1})
    with Image.open(path) as image:
        assert image.tag_v2[254] == 1  # type: ignore[attr-defined]
    rendition = make_rendition(str(path), tmp_path / "r", load_settings())
    assert (rendition.media["width"], rendition.media["height"]) == (400, 150)
    assert [picture.width for picture in rendition.pictures] == [400]
