"""Lettering: how large a scan, a plan or a screenshot must stay for its strokes to be read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mediaflow.media.pixels import AREA

if TYPE_CHECKING:
    from PIL import Image

_MIN_STROKE = 1.5  # pixels: strokes of letters about 14 pixels high; smaller ones are misread
_GROUND = 0.75  # the part of a page, at least, that is of about one grey
_SHADE = 16  # grey levels by which paper, or compression around letters, may differ from the ground
_INK = 96  # grey levels by which ink differs from it, at least
_SAMPLE = 500  # pixels of the longer side of what tells a page from a photo
_BAND = 4_000_000  # pixels that are looked at in one step
_MAX_STROKE = 64  # pixels; longer runs of ink are lines and areas
_MIN_RUNS = 1000  # pieces of strokes from which their width can be told


def side_for_lettering(image: Image.Image, pixels: int) -> tuple[int, bool]:
    """The longer side, in pixels, at which the strokes on a page are wide enough; 0 for anything else.

    A page is mostly ground and, but for that, mostly ink. `image` is decoded, and as large as in the file.
    The area stays within AREA squares of `pixels`; whether that leaves the strokes too thin comes second.
    """
    if max(image.size) <= pixels or not looks_like_page(image):
        return 0, False
    ground = _ground(np.asarray(_sample(image)))
    counts = np.zeros(_MAX_STROKE, int)
    for band in _bands(image):
        counts += _runs(np.abs(band.astype(np.int16) - ground) >= _INK)
    if counts.sum() < _MIN_RUNS:
        return 0, False
    stroke = int(np.searchsorted(counts.cumsum(), counts.sum() / 2))
    wanted = min(1.0, _MIN_STROKE / stroke)
    limit = math.sqrt(AREA * pixels * pixels / (image.width * image.height))
    return round(max(image.size) * min(wanted, limit)), limit < wanted


def is_mostly_ground(image: Image.Image) -> bool:
    """Whether most of a decoded picture, of whatever size, is of one grey."""
    sample = np.asarray(_sample(image)).astype(np.int16)
    return bool((np.abs(sample - _ground(sample)) <= _SHADE).mean() >= _GROUND)


def looks_like_page(image: Image.Image) -> bool:
    """Whether a picture is mostly of one grey, and what else is on it stands out: no tones of a photo."""
    if image.mode not in ("1", "L", "P", "RGB") or "transparency" in image.info:
        return False
    sample = np.asarray(_sample(image)).astype(np.int16)
    away = np.abs(sample - _ground(sample))
    return is_mostly_ground(image) and bool((away >= _INK).sum() >= (away > _SHADE).sum() / 2)


def _sample(image: Image.Image) -> Image.Image:
    """Every so many pixels of the image, in grey: not averaged, which would make greys of ink."""
    ratio = min(1.0, _SAMPLE / max(image.size))
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.resize(size, 0).convert("L")


def _ground(sample: np.ndarray) -> int:
    return int(np.bincount(sample.ravel(), minlength=256).argmax())


def _bands(image: Image.Image) -> Iterator[np.ndarray]:
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))).convert("L"))


def _runs(ink: np.ndarray) -> np.ndarray:
    """How many runs of ink along the rows have each length below _MAX_STROKE."""
    edges = np.diff(np.pad(ink, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.flatnonzero(edges.ravel() == 1), np.flatnonzero(edges.ravel() == -1)
    lengths = ends - starts
    return np.bincount(lengths[lengths < _MAX_STROKE], minlength=_MAX_STROKE)
