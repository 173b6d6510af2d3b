"""Encoders: what turns texts and pictures into vectors, and the choice of them by the settings.

Importing this loads no model and no library; a space's name can be had without either.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mediaflow.models.device import device_of
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
    """Turns pictures, and questions about pictures, into vectors.

    `visual_space` is where pictures are compared with pictures; it may be `space` itself.
    """

    space: str
    dimension: int
    visual_space: str

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length of upright RGB uint8 images (h, w, 3)."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length of questions, in the same space."""
        ...

    def describe(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """All vectors of the images by space, in one pass: those of `space` and of `visual_space`."""
        ...


def text_space(settings: Settings) -> str:
    """The name of the space that passages of text are put in; loads nothing."""
    name = settings.spaces.text
    if name == "e5":
        from mediaflow.models.encoders.e5 import SPACE as E5_SPACE

        return E5_SPACE
    if name == "minilm":
        from mediaflow.models.encoders.minilm import SPACE as MINILM_SPACE

        return MINILM_SPACE
    return _space_of(name)


def image_space(settings: Settings) -> str:
    """The name of the space that pictures are put in and questions look in; loads nothing."""
    name = settings.spaces.image
    if name == "conse":
        from mediaflow.models.encoders.conse import SPACE as CONSE_SPACE

        return CONSE_SPACE
    if name == "clip":
        from mediaflow.models.encoders.clip import SPACE as CLIP_SPACE

        return CLIP_SPACE
    return _space_of(name)


def visual_space(settings: Settings) -> str:
    """The name of the space in which pictures are compared with pictures; loads nothing."""
    if settings.spaces.image == "conse":
        from mediaflow.models.encoders.conse import VISUAL_SPACE

        return VISUAL_SPACE
    return image_space(settings)


def known_dimension(space: str) -> int | None:
    """How many values a vector of a space has, where it is one of those that come with mediaflow."""
    from mediaflow.models.encoders.clip import SPACE as CLIP_SPACE
    from mediaflow.models.encoders.conse import SPACE as CONSE_SPACE
    from mediaflow.models.encoders.conse import VISUAL_DIMENSION, VISUAL_SPACE
    from mediaflow.models.encoders.e5 import SPACE as E5_SPACE
    from mediaflow.models.encoders.minilm import SPACE as MINILM_SPACE

    return {
        CLIP_SPACE: 512,
        CONSE_SPACE: 768,
        VISUAL_SPACE: VISUAL_DIMENSION,
        E5_SPACE: 384,
        MINILM_SPACE: 384,
    }.get(space)


def encoder_models(settings: Settings) -> list[str]:
    """The entries of models.yaml that both encoders need on this machine; loads nothing."""
    text = {"e5": ["e5-small-multilingual"], "minilm": ["minilm"]}.get(settings.spaces.text, [])
    image: list[str] = []
    if settings.spaces.image == "conse":
        from mediaflow.models.encoders.conse import MODELS

        image = list(MODELS)
    if settings.spaces.image == "clip":
        image = ["clip"]
    return list(dict.fromkeys(text + image))


def text_encoder(settings: Settings) -> TextEncoder:
    """The encoder of passages and of questions about them. Raises ModelError where a file is missing."""
    name = settings.spaces.text
    if name == "e5":
        from mediaflow.models.encoders.e5 import shared_e5

        return shared_e5(settings)
    from mediaflow.models.encoders.sentence import SentenceText

    if name != "minilm":
        return SentenceText(_without_scheme(name), text_space(settings), settings)
    if _prefers_torch(settings):
        from mediaflow.models.store import model_folder

        return SentenceText(str(model_folder("minilm-torch")), text_space(settings), settings)
    from mediaflow.models.encoders.minilm import MiniLM

    return MiniLM(settings)


def image_encoder(settings: Settings, *, queries_only: bool = False) -> ImageEncoder:
    """The encoder of pictures; `queries_only` loads no more than a question needs.

    Raises ModelError where a file is missing.
    """
    name = settings.spaces.image
    if name == "conse":
        from mediaflow.models.encoders.conse import Conse

        return Conse(settings, queries_only=queries_only)
    from mediaflow.models.encoders.clip import Clip

    if name == "clip":
        from mediaflow.models.store import model_folder

        return Clip(model_folder("clip"), image_space(settings), settings, queries_only=queries_only)
    folder = Path(_without_scheme(name))
    if (folder / "text_model.onnx").exists():
        return Clip(folder, image_space(settings), settings, queries_only=queries_only)
    from mediaflow.models.encoders.sentence import SentenceImage

    return SentenceImage(_without_scheme(name), image_space(settings), settings)


def visual_vectors(encoder: ImageEncoder, images: Sequence[np.ndarray]) -> np.ndarray:
    """Vectors (n, d) float32 of unit length of images, in the encoder's `visual_space`."""
    return encoder.describe(images)[encoder.visual_space]


def _prefers_torch(settings: Settings) -> bool:
    """Whether a GPU and the extra are there; told without importing torch, which takes seconds."""
    return device_of(settings) == "cuda" and importlib.util.find_spec("sentence_transformers") is not None


def _without_scheme(name: str) -> str:
    return name.removeprefix("file:")


def _space_of(name: str) -> str:
    """A model's name or its folder's, in letters that are safe in a file name."""
    plain = _without_scheme(name)
    return Path(plain).name if name.startswith(("file:", "/", ".")) else plain.replace("/", "--")
