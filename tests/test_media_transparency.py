"""Transparent pictures: on a ground on which what is visible can be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from mediaflow.media.prepare import make_rendition
from mediaflow.settings import load_settings


def letters(*inks: int) -> Image.Image:
    """Strokes of these shades, one below the other, on nothing."""
    image = Image.new("LA", (200, 60 * len(inks)), (0, 0))
    draw = ImageDraw.Draw(image)
    for row, ink in enumerate(inks):
        for x in range(20, 180, 16):
            draw.rectangle((x, 60 * row + 15, x + 5, 60 * row + 45), (ink, 255))
    return image


def shades(tmp_path: Path, image: Image.Image, form: str = "PNG", **options: object) -> np.ndarray:
    """The grey values, int (height, width), of the picture that is made of an image."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    path = tmp_path / "picture"
    image.save(path, form, **options)
    rendition = make_rendition(str(path), tmp_path / "rendition", load_settings())
    assert rendition.thumbnail
    with Image.open(rendition.path(rendition.thumbnail)) as thumbnail:
        assert np.ptp(np.asarray(thumbnail.convert("L"), int)) > 60
    with Image.open(rendition.path(rendition.pictures[0].file)) as picture:
        return np.asarray(picture.convert("L"), int)


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "AVIF"), ("RGBA", "HEIF"),
        ("RGBA", "TIFF"), ("RGBA", "JPEG2000"), ("LA", "TIFF"), ("RGBA", "GIF"),
    ],
)  # fmt: skip
def test_white_letters_on_nothing_are_seen(tmp_path: Path, mode: str, form: str) -> None:
    made = shades(tmp_path, letters(255).convert(mode), form)
    assert made[30, 22] > 215
    assert made[2, 2] < 40


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "I;16"])
def test_a_colour_that_stands_for_transparent_is_replaced_by_the_ground(tmp_path: Path, mode: str) -> None:
    grey = np.where(np.asarray(letters(255).getchannel("A")) > 0, 255, 250 if mode != "1" else 0)
    image = Image.fromarray(grey.astype(np.uint8))
    clear: object = 250 if mode != "1" else 0
    if mode == "I;16":
        image, clear = Image.fromarray(grey.astype(np.uint16) * 257), 250 * 257
    elif mode == "RGB":
        image, clear = image.convert("RGB"), (250, 250, 250)
    elif mode != "L":
        image = image.convert(mode)
    made = shades(tmp_path, image, transparency=clear)
    assert made[30, 22] > 215
    assert made[2, 2] < 40


def test_dark_and_coloured_letters_are_on_white(tmp_path: Path) -> None:
    made = shades(tmp_path, letters(0))
    assert made[2, 2] > 250
    assert made[30, 22] < 40


def test_black_and_white_letters_are_seen_both(tmp_path: Path) -> None:
    made = shades(tmp_path, letters(0, 255, 0, 0, 0))
    ground = made[2, 2]
    assert abs(made[30, 22] - ground) > 90
    assert abs(made[90, 22] - ground) > 90


def test_a_photo_with_a_soft_edge_is_on_white(tmp_path: Path) -> None:
    ramp = Image.linear_gradient("L").resize((200, 200)).point(lambda value: value // 2 + 20)
    soft = Image.new("L", (200, 200), 0)
    ImageDraw.Draw(soft).ellipse((20, 20, 180, 180), 255)
    photo = ramp.convert("RGB")
    photo.putalpha(soft.filter(ImageFilter.GaussianBlur(8)))
    assert shades(tmp_path, photo)[2, 2] > 250
