"""Which frames of an animation show something new."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_SIDE = 160  # pixels of the longer side of what is compared: noise and dithering average out
_DIFFERENCE = 24  # grey levels by which a pixel of it must differ
_MIN_PIXELS = 3  # of them: a letter has more, a blinking cursor or compression fewer
_MAX_KEPT = 50  # frames that a new one is compared with
_EVEN = 8  # grey levels: a frame that spans no more is blank


class Seen:
    """The frames that were kept so far, in little."""

    def __init__(self) -> None:
        self._kept: deque[np.ndarray] = deque(maxlen=_MAX_KEPT)

    def is_new(self, image: Image.Image) -> bool:
        """Whether an RGB image differs from those kept before; it then counts as kept."""
        small = _small(image)
        for kept in self._kept:
            if kept.shape == small.shape:
                differs = np.abs(kept - small).max(axis=2) >= _DIFFERENCE
                if differs.sum() < _MIN_PIXELS:
                    return False
        self._kept.append(small)
        return True


def is_blank(image: Image.Image) -> bool:
    """Whether an image is all of one colour."""
    small = _small(image)
    return bool(np.ptp(small, axis=(0, 1)).max() <= _EVEN)


def _small(image: Image.Image) -> np.ndarray:
    from PIL import Image

    ratio = min(0.5, _SIDE / max(image.size))
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return np.asarray(image.resize(size, Image.Resampling.BOX)).astype(np.int16)
