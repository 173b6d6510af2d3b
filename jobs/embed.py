"""Task `embed`: vectors for every picture, so that pictures are found by what they show and by likeness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jobs.pictures import open_picture
from jobs.task import Finding, Task, Vector, register
from mediaflow.media.rendition import Rendition
from mediaflow.models.device import at_once
from mediaflow.models.encoders import (
    image_encoder,
    image_space,
    known_dimension,
    text_encoder,
    text_space,
    visual_space,
)
from mediaflow.queues.arguments import Form
from mediaflow.settings import load_settings

# Decoded pictures held at a time: a video may have hundreds of key frames.
CHUNK = 16


class EmbedData(Form):
    """Of what is embedded nothing is said but vectors."""


@register
class Embed(Task):
    """Vectors of pictures in the image spaces, and of texts (passages) in the text space."""

    name = "embed"
    needs = "pictures"
    together = 8
    schema = EmbedData

    @classmethod
    def may_write(cls, model: str, source: str | None) -> Mapping[str, int | None]:
        """Text goes into the space its model names; a picture into its model's, and that of likeness."""
        if source is not None:
            space, _, named = model.rpartition("/")
            spaces = [space] if named == source and space == text_space(load_settings()) else []
        else:
            settings = load_settings()
            spaces = [model, visual_space(settings)] if model == image_space(settings) else []
        return {space: known_dimension(space) for space in spaces}

    def load(self) -> None:
        """Load both encoders."""
        self._images = image_encoder(self.settings)
        self._texts = text_encoder(self.settings)

    @property
    def image_space(self) -> str:
        """The space in which pictures are found by words; loads nothing."""
        return image_space(self.settings)

    @property
    def text_space(self) -> str:
        """The space of the texts' vectors; loads nothing."""
        return text_space(self.settings)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, dimension) float32 of unit length of passages, in the text space."""
        return self._texts.encode_texts(texts)

    def analyse(self, batch: Sequence[Rendition]) -> list[Finding]:
        """One finding for each rendition: no data; for each of its pictures a vector in every image space."""
        found: list[list[Vector]] = [[] for _ in batch]
        places = [(index, picture) for index, rendition in enumerate(batch) for picture in rendition.pictures]
        size = at_once(self.settings, CHUNK)
        for start in range(0, len(places), size):
            chunk = places[start : start + size]
            images = [np.asarray(open_picture(batch[index], picture)) for index, picture in chunk]
            for space, vectors in self._images.describe(images).items():
                for (index, picture), values in zip(chunk, vectors, strict=True):
                    found[index].append(Vector(space, values, page=picture.page, time=picture.time))
        return [Finding({}, tuple(vectors)) for vectors in found]
