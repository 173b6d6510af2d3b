"""An image space from a classifier and a text encoder: the default, which needs no hub."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mediaflow.models.encoders.concepts import Concept, load_concepts
from mediaflow.models.encoders.efficientnet import EfficientNet, prepare
from mediaflow.models.encoders.minilm import MiniLM, unit
from mediaflow.models.store import model_folder
from mediaflow.settings import Settings

SPACE = "conse-lite0-minilm-l6-v2"
CLASSIFIER = "efficientnet-lite0"
TOP = 10
BATCH = 16


class Conse:
    """An image's vector is the mean of its classes' text vectors, weighted by their probabilities.

    ConSE: Norouzi et al. 2013, "Zero-Shot Learning by Convex Combination of Semantic Embeddings".
    """

    space = SPACE
    dimension = MiniLM.dimension

    def __init__(self, settings: Settings, *, queries_only: bool = False) -> None:
        self._text = MiniLM(settings)
        if not queries_only:
            weights = model_folder(CLASSIFIER) / f"{CLASSIFIER}.pth"
            self._classifier = EfficientNet(CLASSIFIER, weights, settings)
            self._concepts = self._text.encode_texts([prompt(concept) for concept in load_concepts()])

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, 384) float32 of unit length of questions."""
        return self._text.encode_texts(texts)

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors (n, 384) float32 of unit length of upright RGB uint8 images (h, w, 3)."""
        out = np.zeros((len(images), self.dimension), dtype=np.float32)
        pixels = self._classifier.variant.pixels
        for start in range(0, len(images), BATCH):
            chunk = images[start : start + BATCH]
            logits, _ = self._classifier.run(np.stack([prepare(image, pixels) for image in chunk]))
            out[start : start + len(chunk)] = unit(best(softmax(logits)) @ self._concepts)
        return out


def prompt(concept: Concept) -> str:
    """The sentence that stands for a concept."""
    return "a photo of a " + ", ".join(concept.english[:3])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) of logits (n, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def best(probabilities: np.ndarray) -> np.ndarray:
    """The same, with all but the TOP highest of each row set to zero."""
    threshold = np.partition(probabilities, -TOP, axis=1)[:, -TOP, None]
    kept: np.ndarray = np.where(probabilities >= threshold, probabilities, 0)
    return kept
