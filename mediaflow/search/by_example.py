"""Search by example: pictures like a given file, or like an asset that is known."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mediaflow.catalog import locations
from mediaflow.errors import MediaError, UsageError
from mediaflow.models import encoders
from mediaflow.names import readable
from mediaflow.search.fuse import Evidence
from mediaflow.search.request import Request

if TYPE_CHECKING:
    from mediaflow.search.engine import Searcher


def evidence(searcher: Searcher, request: Request) -> list[Evidence]:
    """Evidence of the pictures that look like the request's example.

    Raises UsageError for a file that is no picture, or a path that is not known or has no pictures.
    """
    space = encoders.visual_space(searcher.settings)
    if request.image is not None:
        query, itself = _of_file(searcher, request.image), None
    else:
        assert request.like is not None
        query, itself = _of_asset(searcher, request.like, space, request.library)
    found = searcher.nearest(space, query, request, ["image"])
    return [piece for piece in found if piece.asset != itself]


def _of_file(searcher: Searcher, path: str) -> np.ndarray:
    """The visual vector (dimension,) of an image file."""
    from PIL import Image

    from mediaflow.media.prepare import make_rendition

    with tempfile.TemporaryDirectory(prefix="mediaflow-") as folder:
        try:
            rendition = make_rendition(os.path.abspath(path), Path(folder) / "example", searcher.settings)
        except MediaError as error:
            raise UsageError(f"{readable(path)}: {error}.") from None
        if not rendition.pictures:
            raise UsageError(f"{readable(path)} holds no picture to compare with.")
        with Image.open(rendition.path(rendition.pictures[0].file)) as image:
            pixels = np.asarray(image.convert("RGB"))
    encoder = encoders.image_encoder(searcher.settings)
    return encoders.visual_vectors(encoder, [pixels])[0]


def _of_asset(searcher: Searcher, path: str, space: str, library: str) -> tuple[np.ndarray, int]:
    """The mean of a known asset's visual vectors (dimension,), and the asset's id."""
    absolute = os.path.abspath(os.path.expanduser(path))
    location = locations.of_path(searcher.db, os.fsencode(absolute), library)
    if location is None or location["asset"] is None:
        raise UsageError(
            f"{readable(absolute)} is not known. Submit it, or use --image for a file that is not."
        )
    rows = searcher.db.execute(
        "SELECT value FROM vectors WHERE asset = ? AND space = ?", (location["asset"], space)
    ).fetchall()
    if not rows:
        raise UsageError(
            f"{readable(absolute)} has no pictures to compare with (mediaflow show says what it has)."
        )
    mean = np.mean([np.frombuffer(row[0], dtype="<f2").astype(np.float32) for row in rows], axis=0)
    return mean / (np.linalg.norm(mean) or 1.0), location["asset"]
