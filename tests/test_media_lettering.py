"""Small lettering on large pages: kept large enough to be read, at no cost for photos and ordinary scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mediaflow.media.lettering import side_for_lettering
from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Rendition
from mediaflow.settings import load_settings

ROW = "Raum 12 Birnbaum 14,5 qm "
PIXELS = 1000


def page(size: tuple[int, int], letters: int, ink: int = 0, ground: int = 255) -> Image.Image:
    """A page of rows of text, letters so many pixels high."""
    image = Image.new("L", size, ground)
    font = ImageFont.load_default(letters)
    for top in range(letters, size[1] - 2 * letters, 3 * letters):
        ImageDraw.Draw(image).text((letters, top), ROW * 6, ink, font)
    return image


def photo(size: tuple[int, int] = (1600, 1200)) -> Image.Image:
    """Blurred noise: tones and edges, but no ground."""
    small = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def render(path: Path, image: Image.Image, form: str = "PNG", **options: Any) -> Rendition:
    image.save(path, form, **options)
    settings = load_settings()
    changed = settings.renditions.model_copy(update={"pixels": PIXELS})
    return make_rendition(
        str(path), path.with_suffix(".rendition"), settings.model_copy(update={"renditions": changed})
    )


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("colours", [(0, 255), (230, 30)])
def test_a_page_of_small_letters_is_kept_large(tmp_path: Path, form: str, colours: tuple[int, int]) -> None:
    (only,) = render(tmp_path / "a", page((2000, 1400), 16, *colours), form).pictures
    assert only.width >= 1500


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_every_mode_of_a_scan_is_a_page(mode: str) -> None:
    assert side_for_lettering(page((2000, 1400), 16).convert(mode), PIXELS)[0] >= 1500


def test_a_finer_scan_of_the_same_page_is_no_larger() -> None:
    sides = [
        side_for_lettering(page((1000 * dpi, 700 * dpi), 10 * dpi), PIXELS)[0] / PIXELS for dpi in (2, 4, 6)
    ]
    assert max(sides) < 1.3 * min(sides)


def test_large_letters_and_photos_cost_what_they_did(tmp_path: Path) -> None:
    for name, image in {"letter": page((2000, 1400), 60), "photo": photo()}.items():
        for form in ("PNG", "JPEG"):
            (only,) = render(tmp_path / f"{name}-{form}", image, form).pictures
            assert max(only.width, only.height) == PIXELS


def test_a_photo_of_a_page_is_a_photo(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Canon"
    exif.get_ifd(0x8769)[0x829A] = 1 / 60
    for form in ("PNG", "JPEG"):
        (only,) = render(tmp_path / form, page((2000, 1400), 16), form, exif=exif).pictures
        assert only.width == PIXELS


def test_a_photo_of_something_small_before_white_is_no_page() -> None:
    image = Image.new("RGB", (2400, 1800), "white")
    image.paste(photo((900, 700)), (700, 500))
    assert side_for_lettering(image, PIXELS)[0] < PIXELS


def test_what_is_beyond_the_limit_is_said(tmp_path: Path) -> None:
    rendition = render(tmp_path / "a", page((6000, 4000), 16))
    (only,) = rendition.pictures
    assert only.width * only.height <= 8.1 * PIXELS * PIXELS
    assert rendition.media["warning"] == "a page of small lettering was read at 58% of its size"
