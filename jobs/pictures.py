"""A rendition's pictures, opened one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediaflow.errors import MediaError
from mediaflow.media.rendition import Picture, Rendition

if TYPE_CHECKING:
    from PIL import Image


def open_picture(rendition: Rendition, picture: Picture) -> Image.Image:
    """One picture of a rendition, decoded, as an RGB image.

    Raises MediaError, not permanent, where the file is gone or damaged: a rendition can be made again.
    """
    from PIL import Image

    path = rendition.path(picture.file)
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise MediaError(
            f"The rendition's picture {picture.file} cannot be read ({error}); it will be made again.",
            permanent=False,
        ) from error
