"""The ground that transparent parts of a picture show: one on which the visible parts stand out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

WHITE, BLACK, GREY = 255, 0, 128
_VISIBLE = 64  # grey levels between ink and ground
_REACH = 7  # pixels: the ink that matters lies so near to something transparent
_BETTER = 0.02  # the part of the ink that another ground must show more of than the one before it
_MAX_SIDE = 2000  # pixels that are looked at; larger pictures are sampled


def ground_of(image: Image.Image, alpha: Image.Image) -> tuple[int, int, int]:
    """The ground, as RGB, for an RGB image with its alpha channel: white unless ink would not be seen on it.

    Ink is what is visible beside transparent parts: letters, or the edge of a cut-out photo.
    """
    from PIL import ImageFilter

    step = max(1, *(side // _MAX_SIDE for side in image.size))
    least = np.asarray(alpha.filter(ImageFilter.MinFilter(_REACH)))[::step, ::step].astype(np.float32)
    # Squared: of what is hardly there, compression leaves no true colour.
    weights = (np.asarray(alpha)[::step, ::step] / 255.0) ** 2 * (1 - least / 255.0)
    total = float(weights.sum())
    if total <= 0:
        return (WHITE, WHITE, WHITE)
    shades = np.asarray(image.convert("L"))[::step, ::step].astype(np.float32)
    shown = {
        ground: float(weights[np.abs(shades - ground) >= _VISIBLE].sum()) / total
        for ground in (WHITE, BLACK, GREY)
    }
    best = max(shown.values())
    ground = next(ground for ground in shown if shown[ground] >= best - _BETTER)
    return (ground, ground, ground)
