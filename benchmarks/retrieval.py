"""How well pictures are found by words, near copies by a picture, and passages by paraphrases.

    python benchmarks/retrieval.py            the spaces that the settings name, on the test media

The gallery is all captioned and labelled photos of MEDIAFLOW_TEST_MEDIA (default ../shared/media beside
the clone). mAP: mean average precision; MRR: mean reciprocal rank of the first right picture; first: how
often the first is right; R@k: share of the right pictures among the first k; P@10: share of right ones
among the first ten, of what is possible.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
MEDIA = Path(os.environ.get("MEDIAFLOW_TEST_MEDIA", PROJECT.parent / "shared" / "media"))
QUESTIONS = Path(__file__).with_name("retrieval_questions.tsv")
GALLERY = ("image_caption", "image_label")
NAMED_BY = 2
WORDS = 60


@dataclass(frozen=True, slots=True)
class Question:
    """A text, its language, and the pictures that answer it."""

    kind: str
    language: str
    text: str
    answers: frozenset[str]


def rows(path: Path) -> Iterator[dict]:
    """The objects of a JSON Lines file."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def questions(gallery: dict[str, dict]) -> Iterator[Question]:
    """All questions of the ground truth on the gallery, then those of our own."""
    for row in rows(MEDIA / "queries.jsonl"):
        if row["type"] in ("caption", "label"):
            yield Question(row["type"], row["lang"], row["query"], frozenset(row["relevant"]))
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        kind, languages, text, answer = line.split("\t")
        if kind == "caption":
            yield Question(kind, languages, text, frozenset([answer]))
        if kind == "word":
            named = frozenset(_naming(gallery, set(answer.split(","))))
            for language, word in zip(languages.split(","), text.split(", "), strict=True):
                yield Question(kind, language, word, named)


def _naming(gallery: dict[str, dict], forms: set[str]) -> Iterator[str]:
    """The pictures whose label, or two of whose captions, name one of the forms."""
    for path, truth in gallery.items():
        texts = truth.get("captions") or [truth["label"]] * NAMED_BY
        words = [set(re.findall(r"\w+", text.lower())) for text in texts]
        if sum(bool(forms & said) for said in words) >= NAMED_BY:
            yield path


def average_precision(ranked: list[str], answers: frozenset[str]) -> float:
    """Mean of the precision at the rank of each right answer."""
    hits = [rank for rank, path in enumerate(ranked, 1) if path in answers]
    return sum(found / rank for found, rank in enumerate(hits, 1)) / len(answers)


def measure(ranked: list[str], answers: frozenset[str]) -> dict[str, float]:
    """The figures of one question."""
    first = next(rank for rank, path in enumerate(ranked, 1) if path in answers)
    within = {k: len(answers.intersection(ranked[:k])) for k in (1, 5, 10)}
    return {
        "mAP": average_precision(ranked, answers),
        "MRR": 1 / first,
        "first": float(within[1]),
        "R@5": within[5] / len(answers),
        "R@10": within[10] / len(answers),
        "P@10": within[10] / min(10, len(answers)),
    }


def report(title: str, figures: Iterable[dict[str, float]]) -> None:
    """One line: the means of the figures of all questions of a kind."""
    table = list(figures)
    means = {name: np.mean([row[name] for row in table]) for name in table[0]}
    print(f"{title:14} {len(table):4}  " + "  ".join(f"{name} {value:.3f}" for name, value in means.items()))


def load(path: str) -> np.ndarray:
    """A file of the test media, upright, RGB uint8, no larger than a rendition's picture."""
    from PIL import Image, ImageOps

    with Image.open(MEDIA / path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def text_to_image(encoder) -> None:
    """Every question against every picture of the gallery."""
    gallery = {row["path"]: row["truth"] for row in rows(MEDIA / "manifest.jsonl") if row["kind"] in GALLERY}
    paths = sorted(gallery)
    images = [load(path) for path in paths]
    started = time.perf_counter()
    vectors = encoder.encode_images(images)
    rate = len(paths) / (time.perf_counter() - started)
    print(f"space {encoder.space}: {len(paths)} pictures, {rate:.1f} a second")
    asked = [question for question in questions(gallery) if question.answers]
    scores = encoder.encode_queries([question.text for question in asked]) @ vectors.T
    grouped: dict[str, list[dict[str, float]]] = defaultdict(list)
    for question, row in zip(asked, scores, strict=True):
        ranked = [paths[index] for index in np.argsort(-row, kind="stable")]
        grouped[f"{question.kind} {question.language}"].append(measure(ranked, question.answers))
    for title in sorted(grouped):
        report(title, grouped[title])


def image_to_image(encode, title: str) -> None:
    """Near copies of a picture among all pictures: each member of a group asks for the others."""
    groups = defaultdict(set)
    paths = []
    for row in rows(MEDIA / "manifest.jsonl"):
        if row["kind"] == "near_dup":
            groups[row["truth"]["group"]] |= {row["path"], row["truth"]["of"]}
        if row["kind"] in (*GALLERY, "near_dup"):
            paths.append(row["path"])
    vectors = encode([load(path) for path in paths])
    figures = []
    for members in groups.values():
        for path in members:
            order = np.argsort(-(vectors @ vectors[paths.index(path)]), kind="stable")
            ranked = [paths[index] for index in order if paths[index] != path]
            figures.append(measure(ranked, frozenset(members - {path})))
    report(title, figures)


def text_to_text(encoder) -> None:
    """Paraphrases and phrases of what is said or written in the files, against all of it."""
    truths = {row["path"]: row for row in rows(MEDIA / "manifest.jsonl")}
    passages = [(path, text) for path, row in truths.items() for text in _passages(row["truth"])]
    started = time.perf_counter()
    vectors = encoder.encode_texts([text for _, text in passages])
    rate = len(passages) / (time.perf_counter() - started)
    print(f"space {encoder.space}: {len(passages)} passages, {rate:.1f} a second")
    figures: dict[str, list[dict[str, float]]] = defaultdict(list)
    for kind, text, answers in _text_questions({path for path, _ in passages}):
        scores = vectors @ encoder.encode_texts([text])[0]
        ranked = list(dict.fromkeys(passages[index][0] for index in np.argsort(-scores, kind="stable")))
        figures[kind].append(measure(ranked, answers))
    for title in sorted(figures):
        report(title, figures[title])


def _passages(truth: dict) -> Iterator[str]:
    """What is said or written, WORDS at a time."""
    lines = truth.get("lines") or truth.get("words") or []
    said = truth.get("transcript") or " ".join(
        line if isinstance(line, str) else line["text"] for line in lines
    )
    words = said.split()
    for start in range(0, len(words), WORDS):
        yield " ".join(words[start : start + WORDS])


def _text_questions(known: set[str]) -> Iterator[tuple[str, str, frozenset[str]]]:
    for row in rows(MEDIA / "queries.jsonl"):
        answers = frozenset(known.intersection(row["relevant"]))
        if row["type"].startswith("phrase") and answers:
            yield row["type"], row["query"], answers
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        if line.startswith("passage"):
            _, language, text, answers = line.split("\t")
            yield f"paraphrase {language}", text, frozenset(answers.split(","))


def main() -> None:
    """Measure the image space that the settings name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    if not (MEDIA / "queries.jsonl").exists():
        raise SystemExit(f"There are no test media in {MEDIA}; set MEDIAFLOW_TEST_MEDIA.")
    from mediaflow.models.encoders import image_encoder, text_encoder, visual_vectors
    from mediaflow.settings import load_settings

    encoder = image_encoder(load_settings())
    text_to_image(encoder)
    image_to_image(lambda images: visual_vectors(encoder, images), "near copies")
    text_to_text(text_encoder(load_settings()))


if __name__ == "__main__":
    main()
