"""Pixels: a picture of any mode made small, 8-bit and sRGB, without a second copy of a large one."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mediaflow.media.ground import ground_of

if TYPE_CHECKING:
    from PIL import Image

_GAP = 3.0  # how many times larger than wanted a picture is made quickly, before it is made well
AREA = 8  # squares of the longer side that a very long picture may have: 32 megapixels of 2,000
MAX_SIDE = 65_000  # pixels; a JPEG file has no more than 65,535
_BAND = 4_000_000  # pixels of a large image that are converted at once


def longest_side(size: tuple[int, int], pixels: int) -> int:
    """The longer side, in pixels, of the picture that is made of an image of `size`.

    It is `pixels` for ordinary shapes. A shape longer than 2 to 1 (a screenshot of a whole conversation, a
    banner) keeps a shorter side of half of `pixels`, as far as AREA and MAX_SIDE allow: its lettering
    must stay as large as on a page.
    """
    longer, shorter = max(size), min(size)
    return min(longer, MAX_SIDE, max(pixels, round(longer * min(1.0, *_ratios(longer, shorter, pixels)))))


def is_too_long(size: tuple[int, int], pixels: int) -> bool:
    """Whether AREA or MAX_SIDE makes a long picture smaller than its shorter side asks for."""
    longer, shorter = max(size), min(size)
    by_side, *limits = _ratios(longer, shorter, pixels)
    return longer > 2 * shorter and min(limits) < min(1.0, by_side)


def _ratios(longer: int, shorter: int, pixels: int) -> tuple[float, float, float]:
    """The scales that half of `pixels` on the shorter side, the area and the longer side allow."""
    area = AREA * pixels * pixels
    return pixels / 2 / shorter, math.sqrt(area / (longer * shorter)), MAX_SIDE / longer


def shrink(image: Image.Image, pixels: int) -> Image.Image:
    """The image, no longer than `pixels` on a side."""
    from PIL import Image

    ratio = pixels / max(image.size)
    if ratio >= 1:
        return image
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=_GAP)


def reduce(image: Image.Image, pixels: int) -> Image.Image:
    """The image in a mode whose values can be averaged, and roughly as small as `shrink` will need it.

    A large image is taken band by band: a second copy of all of it would not fit.
    """
    from PIL import Image

    values = image.getextrema() if image.mode.startswith(("I", "F")) else None
    factor = int(max(image.size) / pixels / _GAP)
    if factor < 2 or min(image.size) < factor:
        return _direct(image, values)
    size = (-(-image.width // factor), -(-image.height // factor))
    rows = factor * max(1, _BAND // (image.width * factor))
    reduced: Image.Image | None = None
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        band = _direct(band, values).reduce(factor)
        reduced = reduced or Image.new(band.mode, size)
        reduced.paste(band, (0, top // factor))
    assert reduced is not None
    return reduced


def _direct(image: Image.Image, values: Any) -> Image.Image:
    """The image in a mode whose values can be averaged: no palette, 8 bits a channel.

    `values` are the lowest and the highest of a picture in deep grey.
    """
    from PIL import Image

    clear = image.info.get("transparency")
    if image.mode == "1" and clear is None:
        return image.convert("L")
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or (
        image.mode in ("1", "L", "RGB") and clear is not None
    ):
        has_alpha = image.mode != "P" or clear is not None
        return image.convert("RGBA" if has_alpha else "RGB")
    if not values:
        return image
    grey = _eight_bit(image, *values)
    if not isinstance(clear, int):
        return grey
    deep = grey.convert("RGBA")  # grey of 16 bits of which one value is transparent (PNG, tRNS)
    deep.putalpha(Image.fromarray(np.where(np.asarray(image) == clear, 0, 255).astype(np.uint8)))
    return deep


def _eight_bit(image: Image.Image, low: float, high: float) -> Image.Image:
    """Deep grey as 8 bits: whole numbers scaled by their depth, floats by what occurs."""
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F":
        low, high = (each if math.isfinite(each) else 0.0 for each in (low, high))
        shown = (np.nan_to_num(values).clip(low, high) - low) * (255.0 / max(high - low, 1e-9))
        return Image.fromarray(shown.clip(0, 255).astype(np.uint8))
    depth = next((bits for bits in (8, 10, 12, 14, 16) if high < 1 << bits), 31)
    return Image.fromarray((values.clip(min=0) >> (depth - 8)).astype(np.uint8))


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB; transparent parts show a ground on which the visible ones stand out."""
    from PIL import Image

    if image.mode != "RGBA":
        return _apply_profile(image, profile).convert("RGB")
    shown, alpha = _apply_profile(image.convert("RGB"), profile), image.getchannel("A")
    page = Image.new("RGB", image.size, ground_of(shown, alpha))
    page.paste(shown, mask=alpha)
    return page


def _apply_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours by the file's ICC profile; a damaged one is as good as none."""
    from PIL import ImageCms

    if not profile or (b"sRGB" in profile[:4096] and image.mode == "RGB"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return (
            ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            or image
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
