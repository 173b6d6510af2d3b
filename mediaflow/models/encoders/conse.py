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
VISUAL_DIMENSION = 1280
CLASSIFIER = "efficientnet-lite2"
MODELS = ("minilm", "e5-small-multilingual", CLASSIFIER, "blazepose", "blazeface")
# "A person" says less of a photo than what else is seen: its weight beside a class of the same probability.
PEOPLE_WEIGHT = 0.25


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
        known = np.array([self._english.familiarity(text) for text in texts], dtype=np.float32)[:, None]
        english = unit(self._english.encode_texts(texts) - self._concepts.english_mean)
        multilingual = unit(self._multilingual.encode_texts(texts) - self._concepts.multilingual_mean)
        return unit(np.concatenate([known * english, multilingual], axis=1))

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors (n, 768) float32 of unit length of upright RGB uint8 images (h, w, 3)."""
        return self.describe(images)[self.space]

    def describe(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Vectors of the images by space, in one pass: what they show (768) and how they look (1280)."""
        seen = np.zeros((len(images), len(self._concepts.english)), dtype=np.float32)
        looks = np.zeros((len(images), VISUAL_DIMENSION), dtype=np.float32)
        for index, image in enumerate(images):  # on a CPU, several at a time gain nothing
            logits, features = self._classifier.run(prepare(image, self._classifier.variant.pixels))
            seen[index, :-1] = softmax(logits).mean(axis=0)
            seen[index, -1] = self._people.likelihood(image) * PEOPLE_WEIGHT
            looks[index] = features.mean(axis=0)
        weights = np.sqrt(seen)
        halves = [unit(weights @ self._concepts.english), unit(weights @ self._concepts.multilingual)]
        return {SPACE: unit(np.concatenate(halves, axis=1)), VISUAL_SPACE: unit(looks)}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) of logits (n, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return probabilities
