"""The default image space, which needs no hub: a classifier, two detectors and two text encoders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mediaflow.models.encoders.concept_vectors import ConceptVectors, concept_vectors
from mediaflow.models.encoders.e5 import shared_e5
from mediaflow.models.encoders.efficientnet import EfficientNet, prepare
from mediaflow.models.encoders.minilm import MiniLM, unit
from mediaflow.models.encoders.people import People
from mediaflow.models.store import model_folder
from mediaflow.settings import Settings

# Any change to what the vectors mean (models, concepts, weights below) must change the names.
SPACE = "conse-lite2-1"
VISUAL_SPACE = "lite2-features-1"
CLASSIFIER = "efficientnet-lite2"
MODELS = ("minilm", "e5-small-multilingual", CLASSIFIER, "blazepose", "blazeface")
# "A person" says less of a photo than what else is seen: its weight beside a class of the same probability.
PEOPLE_WEIGHT = 0.25
BATCH = 8


class Conse:
    """An image's vector is the sum of its classes' text vectors, by their probabilities.

    After ConSE (Norouzi et al. 2013, "Zero-Shot Learning by Convex Combination of Semantic Embeddings"),
    with what was measured to help (docs/image-space.md): all classes by the root of their probability,
    text vectors less their mean, people from detectors, and two text encoders side by side, an English
    and a multilingual one.
    """

    space = SPACE
    dimension = 768
    visual_space = VISUAL_SPACE

    def __init__(self, settings: Settings, *, queries_only: bool = False) -> None:
        self._english = MiniLM(settings)
        self._multilingual = shared_e5(settings)
        self._concepts: ConceptVectors = concept_vectors(self._english, self._multilingual)
        if not queries_only:
            weights = model_folder(CLASSIFIER) / f"{CLASSIFIER}.pth"
            self._classifier = EfficientNet(CLASSIFIER, weights, settings)
            self._people = People(settings)

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, 768) float32 of unit length of questions, in German or English.

        The English half counts by the share of a question's words that its encoder knows.
        """
        known = np.array([[self._english.familiarity(text)] for text in texts], dtype=np.float32)
        english = unit(self._english.encode_texts(texts) - self._concepts.english_mean)
        multilingual = unit(self._multilingual.encode_texts(texts) - self._concepts.multilingual_mean)
        return unit(np.concatenate([known.reshape(-1, 1) * english, multilingual], axis=1))

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors (n, 768) float32 of unit length of upright RGB uint8 images (h, w, 3)."""
        return self.describe(images)[self.space]

    def describe(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Vectors of the images by space, in one pass: what they show (768) and how they look (1280)."""
        if not images:
            return {SPACE: np.zeros((0, 768), np.float32), VISUAL_SPACE: np.zeros((0, 1280), np.float32)}
        seen, looks = [], []
        for start in range(0, len(images), BATCH):
            chunk = images[start : start + BATCH]
            views = np.concatenate([prepare(image, self._classifier.variant.pixels) for image in chunk])
            logits, features = self._classifier.run(views)
            probabilities = softmax(logits).reshape(len(chunk), -1, logits.shape[1]).mean(axis=1)
            people = np.array([[self._people.likelihood(image)] for image in chunk])
            seen.append(np.concatenate([probabilities, people * PEOPLE_WEIGHT], axis=1))
            looks.append(features.reshape(len(chunk), -1, features.shape[1]).mean(axis=1))
        weights = np.sqrt(np.concatenate(seen)).astype(np.float32)
        halves = [unit(weights @ self._concepts.english), unit(weights @ self._concepts.multilingual)]
        return {SPACE: unit(np.concatenate(halves, axis=1)), VISUAL_SPACE: unit(np.concatenate(looks))}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) of logits (n, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return probabilities
