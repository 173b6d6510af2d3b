"""Encoders: what turns texts and pictures into vectors, and the choice of them by the settings.

Importing this loads no model and no library; a space's name can be had without either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mediaflow.settings import Settings

if TYPE_CHECKING:
    import numpy as np


class TextEncoder(Protocol):
    """Turns texts into vectors of one space."""

    space: str
    dimension: int

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length."""
        ...


class ImageEncoder(Protocol):
    """Turns pictures, and questions about pictures, into vectors of one space."""

    space: str
    dimension: int

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length of upright RGB uint8 images (h, w, 3)."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length of questions, in the same space."""
        ...


def text_space(settings: Settings) -> str:
    """The name of the space that passages of text are put in; loads nothing."""
    from mediaflow.models.encoders import minilm

    return minilm.SPACE


def image_space(settings: Settings) -> str:
    """The name of the space that pictures are put in; loads nothing."""
    from mediaflow.models.encoders import conse

    return conse.SPACE


def text_encoder(settings: Settings) -> TextEncoder:
    """The encoder of passages and of questions about them. Raises ModelError where a file is missing."""
    from mediaflow.models.encoders.minilm import MiniLM

    return MiniLM(settings)


def image_encoder(settings: Settings, *, queries_only: bool = False) -> ImageEncoder:
    """The encoder of pictures; `queries_only` loads no more than a question needs.

    Raises ModelError where a file is missing.
    """
    from mediaflow.models.encoders.conse import Conse

    return Conse(settings, queries_only=queries_only)
