"""What each step of the default image space is worth: the table of docs/image-space.md.

    python benchmarks/image_steps.py

Every row is the one above it with one thing changed; figures are mAP over the questions of
benchmarks/retrieval.py, by kind and language. Needs efficientnet-lite0 too (mediaflow models pull).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import retrieval
from PIL import Image

from mediaflow.models.encoders.concept_vectors import ENGLISH_PROMPT, GERMAN_PROMPT, WORDS
from mediaflow.models.encoders.concepts import PEOPLE, load_concepts
from mediaflow.models.encoders.conse import PEOPLE_WEIGHT, softmax
from mediaflow.models.encoders.e5 import shared_e5
from mediaflow.models.encoders.efficientnet import EfficientNet, prepare
from mediaflow.models.encoders.minilm import MiniLM, unit
from mediaflow.models.encoders.people import People
from mediaflow.models.store import model_folder
from mediaflow.settings import load_settings

TOP = 10


def main() -> None:
    """Encode everything once, then print a row for each step."""
    settings = load_settings()
    rows = retrieval.rows(retrieval.MEDIA / "manifest.jsonl")
    gallery = {row["path"]: row["truth"] for row in rows if row["kind"] in retrieval.GALLERY}
    paths = sorted(gallery)
    images = [retrieval.load(path) for path in paths]
    asked = [question for question in retrieval.questions(gallery) if question.answers]
    texts = [question.text for question in asked]

    small = _classify("efficientnet-lite0", settings, images, _middle)
    large = _classify("efficientnet-lite2", settings, images, _middle)
    whole = _classify("efficientnet-lite2", settings, images, prepare)
    detector = People(settings)
    people = np.array([detector.likelihood(image) for image in images]) * PEOPLE_WEIGHT

    minilm, e5 = MiniLM(settings), shared_e5(settings)
    concepts = load_concepts()
    english = [ENGLISH_PROMPT.format(", ".join(concept.english[:WORDS])) for concept in [*concepts, PEOPLE]]
    german = [GERMAN_PROMPT.format(", ".join(concept.german[:WORDS])) for concept in [*concepts, PEOPLE]]
    by_minilm, by_e5 = minilm.encode_texts(english), e5.encode_texts(english)
    by_both = unit(by_e5 + e5.encode_texts(german))
    queries, queries_e5 = minilm.encode_texts(texts), e5.encode_texts(texts)
    known = np.array([[minilm.familiarity(text)] for text in texts])

    def centred(query: np.ndarray, weights: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        mean = vectors[:-1].mean(axis=0)
        return unit(query - mean) @ unit(weights @ (vectors[: weights.shape[1]] - mean)).T

    root, with_people = np.sqrt(whole), np.sqrt(np.concatenate([whole, people[:, None]], axis=1))
    steps: list[tuple[str, Callable[[], np.ndarray]]] = [
        ("ConSE: lite0, ten best classes, MiniLM", lambda: queries @ unit(_best(small) @ by_minilm[:-1]).T),
        ("lite2 instead of lite0", lambda: queries @ unit(_best(large) @ by_minilm[:-1]).T),
        ("two views: whole and middle", lambda: queries @ unit(_best(whole) @ by_minilm[:-1]).T),
        ("all classes", lambda: queries @ unit(whole @ by_minilm[:-1]).T),
        ("text vectors less their mean", lambda: centred(queries, whole, by_minilm)),
        ("root of the probabilities", lambda: centred(queries, root, by_minilm)),
        ("people", lambda: centred(queries, with_people, by_minilm)),
        ("e5 instead of MiniLM", lambda: centred(queries_e5, with_people, by_e5)),
        ("e5, German and English class names", lambda: centred(queries_e5, with_people, by_both)),
        (
            "both encoders",
            lambda: centred(queries, with_people, by_minilm) + centred(queries_e5, with_people, by_both),
        ),
        (
            "MiniLM by its share of known words",
            lambda: (
                known * centred(queries, with_people, by_minilm) + centred(queries_e5, with_people, by_both)
            ),
        ),
    ]
    for title, score in steps:
        _print(title, score(), asked, paths)


def _classify(
    name: str, settings, images: Sequence[np.ndarray], views: Callable[[np.ndarray, int], np.ndarray]
) -> np.ndarray:
    """Probabilities (n, classes), the mean over the views of each image."""
    network = EfficientNet(name, model_folder(name) / f"{name}.pth", settings)
    logits = [network.run(views(image, network.variant.pixels))[0] for image in images]
    return np.stack([softmax(rows).mean(axis=0) for rows in logits])


def _middle(image: np.ndarray, pixels: int) -> np.ndarray:
    """The one view that such networks are tested with: the middle 87.5 % of the shorter side."""
    picture = Image.fromarray(image)
    side = min(picture.size) * pixels / (pixels + 32)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    view = np.asarray(picture.resize((pixels, pixels), Image.Resampling.BICUBIC, box), dtype=np.float32)
    return ((view - 127) / 128).transpose(2, 0, 1)[None]


def _best(probabilities: np.ndarray) -> np.ndarray:
    threshold = np.partition(probabilities, -TOP, axis=1)[:, -TOP, None]
    return np.where(probabilities >= threshold, probabilities, 0)


def _print(title: str, scores: np.ndarray, asked: list[retrieval.Question], paths: list[str]) -> None:
    grouped: dict[str, list[float]] = defaultdict(list)
    for question, row in zip(asked, scores, strict=True):
        ranked = [paths[index] for index in np.argsort(-row, kind="stable")]
        grouped[f"{question.kind} {question.language}"].append(
            retrieval.average_precision(ranked, question.answers)
        )
    means = {kind: np.mean(grouped[kind]) for kind in sorted(grouped)}
    figures = "  ".join(f"{kind} {mean:.3f}" for kind, mean in means.items())
    print(f"{title:40} {figures}  all {np.mean(list(means.values())):.3f}", flush=True)


if __name__ == "__main__":
    main()
