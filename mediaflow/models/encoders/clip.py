"""An image space by CLIP on ONNX Runtime: pictures and questions by one model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mediaflow.errors import ModelError
from mediaflow.models.encoders.minilm import unit
from mediaflow.models.encoders.session import open_session
from mediaflow.settings import Settings

SPACE = "clip-vit-base-patch32"
MODEL = "clip"
PIXELS = 224
LENGTH = 77
BATCH = 8
# Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision".
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


class Clip:
    """A CLIP of OpenAI's kind: `folder` holds `vision_model.onnx`, `text_model.onnx`, `tokenizer.json`.

    The two networks give `image_embeds` and `text_embeds`, (n, dimension) each, as in the exports of
    transformers' CLIPVisionModelWithProjection and CLIPTextModelWithProjection.
    """

    def __init__(self, folder: Path, space: str, settings: Settings, *, queries_only: bool = False) -> None:
        from tokenizers import Tokenizer

        self.space = self.visual_space = space
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelError(f"{folder / 'tokenizer.json'} cannot be loaded: {error}.") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LENGTH)
        self._text = open_session(folder / "text_model.onnx", settings)
        self._text_inputs = {node.name for node in self._text.get_inputs()}
        self.dimension = int(next(o for o in self._text.get_outputs() if o.name == "text_embeds").shape[-1])
        if not queries_only:
            self._vision = open_session(folder / "vision_model.onnx", settings)
            side = self._vision.get_inputs()[0].shape[-1]
            self._pixels = side if isinstance(side, int) else PIXELS

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length of questions, in the language of the model."""
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for index, text in enumerate(texts):  # one at a time: no padding, so no question of its mask
            ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            given = {name: feed[name] for name in self._text_inputs}
            out[index] = unit(self._text.run(["text_embeds"], given)[0])[0]
        return out

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length of upright RGB uint8 images (h, w, 3)."""
        out = np.zeros((len(images), self.dimension), dtype=np.float32)
        for start in range(0, len(images), BATCH):
            chunk = images[start : start + BATCH]
            pixels = np.stack([prepare(image, self._pixels) for image in chunk])
            (vectors,) = self._vision.run(["image_embeds"], {"pixel_values": pixels})
            out[start : start + len(chunk)] = unit(vectors)
        return out

    def describe(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The vectors by space: CLIP's own serve words and likeness both."""
        return {self.space: self.encode_images(images)}


def prepare(image: np.ndarray, pixels: int) -> np.ndarray:
    """An RGB uint8 image (h, w, 3) as CLIP was trained on: (3, p, p) float32, normalised.

    The shorter side resized to p, bicubically, and the middle cut out.
    """
    from PIL import Image

    picture = Image.fromarray(image)
    shorter = min(picture.size)
    size = (int(pixels * picture.width / shorter), int(pixels * picture.height / shorter))
    left, top = (size[0] - pixels) // 2, (size[1] - pixels) // 2
    small = picture.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + pixels, top + pixels))
    scaled = (np.asarray(small, dtype=np.float32) / 255 - MEAN) / DEVIATION
    prepared: np.ndarray = scaled.transpose(2, 0, 1)
    return prepared
