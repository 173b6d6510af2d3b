"""Encoders by sentence-transformers (the extra `torch`): any model of it, on the GPU where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mediaflow.errors import ConfigError, ModelError
from mediaflow.models.device import torch_device
from mediaflow.models.encoders.minilm import unit
from mediaflow.settings import Settings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH = 32


def open_model(name: str, settings: Settings) -> SentenceTransformer:
    """A model by its name on the Hugging Face Hub (`owner/name` or `owner/name@revision`) or its folder.

    Raises ConfigError where the extra is not installed, ModelError where the model cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise ConfigError(
            f"The model {name!r} needs the extra `torch`, which is not installed. Run: scripts/setup --torch"
        ) from None
    model, _, revision = name.partition("@")
    try:
        # Never code that a repository brings along, never weights in a format that can run code.
        return SentenceTransformer(
            model,
            device=torch_device(settings),
            revision=revision or None,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:  # hub, files and torch each raise their own
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"sentence-transformers cannot load {name!r}: {reason} "
            "Name a folder, or a model of the Hugging Face Hub that can be reached."
        ) from error


class SentenceText:
    """A text encoder by any sentence-transformers model."""

    def __init__(self, name: str, space: str, settings: Settings) -> None:
        self.space = space
        self._model = open_model(name, settings)
        self.dimension = len(self.encode_texts(["size"])[0])

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length."""
        return _encode(self._model, list(texts))


class SentenceImage:
    """An image encoder by any sentence-transformers model that takes pictures and texts (CLIP, SigLIP)."""

    def __init__(self, name: str, space: str, settings: Settings) -> None:
        self.space = self.visual_space = space
        self._model = open_model(name, settings)
        self.dimension = len(self.encode_queries(["size"])[0])

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length of questions, in the languages of the model."""
        return _encode(self._model, list(texts))

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length of upright RGB uint8 images (h, w, 3)."""
        from PIL import Image

        if not images:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return _encode(self._model, [Image.fromarray(image) for image in images])

    def describe(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The vectors by space: the model's own serve words and likeness both."""
        return {self.space: self.encode_images(images)}


def _encode(model: SentenceTransformer, items: list[Any]) -> np.ndarray:
    return unit(np.asarray(model.encode(items, batch_size=BATCH, show_progress_bar=False), dtype=np.float32))
