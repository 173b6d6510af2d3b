"""Search by example: pictures like a given file, or like an asset that is known."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mediaflow.catalog import locations
from mediaflow.errors import MediaError, UsageError
from mediaflow.index.vectors import of_asset
from mediaflow.models import encoders
from mediaflow.names import absolute_path, readable
from mediaflow.search.filters import Filter
from mediaflow.search.fuse import Evidence
from mediaflow.search.nearest import Look, nearest, query_vector
from mediaflow.search.request import Request

if TYPE_CHECKING:
    from mediaflow.index.reader import SpaceReader
    from mediaflow.search.engine import Searcher


def evidence(searcher: Searcher, request: Request, filter: Filter) -> list[Evidence]:
    """Evidence of the pictures that look like the request's example.

    Raises UsageError for a file that is no picture, or a path that is not known or has no pictures, and
    ModelError or ConfigError where a file's picture cannot be encoded.
    """
    space = encoders.visual_space(searcher.settings)
    itself = None
    if request.image is not None:
        pixels = _pixels(searcher, _absolute(request.image))
        reader = searcher.opened(space)
        if not len(reader):
            return []  # the space is empty: no model needs to be loaded
        query = _encoded(searcher, reader, pixels)
    else:
        assert request.like is not None
        reader = searcher.opened(space)
        query, itself = _of_asset(searcher, _absolute(request.like), reader, request.library)
    # One more than requested: the example itself is left out.
    found = nearest(searcher.db, reader, query, Look(filter, ["image"], request.limit + 1))
    return [piece for piece in found if piece.asset != itself]


def _absolute(path: str) -> str:
    """The absolute path; UsageError for an empty one, and for text that cannot be a path."""
    absolute = absolute_path(path)
    try:
        encoded = os.fsencode(absolute)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise UsageError(f"{path!a} is not a path.")
    return absolute


def _pixels(searcher: Searcher, path: str) -> np.ndarray:
    """An image file, upright RGB uint8 (h, w, 3)."""
    from PIL import Image

    from mediaflow.media.prepare import make_rendition

    with tempfile.TemporaryDirectory(prefix="mediaflow-") as folder:
        try:
            rendition = make_rendition(path, Path(folder) / "example", searcher.settings)
        except MediaError as error:
            raise UsageError(f"{readable(path)}: {error}.") from None
        if not rendition.pictures:
            raise UsageError(f"{readable(path)} holds no picture to compare with.")
        with Image.open(rendition.path(rendition.pictures[0].file)) as image:
            return np.asarray(image.convert("RGB"))


def _encoded(searcher: Searcher, reader: SpaceReader, pixels: np.ndarray) -> np.ndarray:
    """The visual vector (dimension,) of a picture."""
    return query_vector(reader, lambda: encoders.visual_vectors(searcher.image_encoder, [pixels]))


def _of_asset(searcher: Searcher, path: str, reader: SpaceReader, library: str) -> tuple[np.ndarray, int]:
    """The mean of a known asset's visual vectors (dimension,), and the asset's id."""
    location = locations.of_path(searcher.db, os.fsencode(path), library)
    if location is None or location["asset"] is None:
        raise UsageError(f"{readable(path)} is not known. Submit it, or use --image for a file that is not.")
    values = of_asset(searcher.db, location["asset"], reader.space)
    if not len(values):
        raise UsageError(
            f"{readable(path)} has no pictures to compare with (mediaflow show says what it has)."
        )
    mean = values.mean(axis=0)
    return mean / (np.linalg.norm(mean) or 1.0), location["asset"]
