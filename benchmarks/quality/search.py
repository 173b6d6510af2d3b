"""How well a search finds what is asked for: by words among everything, photos by words, near copies."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.installation import Installation
from benchmarks.quality import Entry, Row
from benchmarks.retrieval import GALLERY, Question, average_precision, load, questions

RANKS = (1, 5, 10)
DEPTH = 50  # how far down a right answer still counts for the mean reciprocal rank
ALL = 1000

Figures = dict[str, float]


class Names:
    """One name for every content: copies of a file are one asset, found at any of its places."""

    def __init__(self, media: Path, described: Iterable[Mapping[str, Any]]) -> None:
        self._by_asset: dict[str, str] = {}
        self._by_path: dict[str, str] = {}
        for each in described:
            path = os.path.relpath(each["path"], media)
            if each["asset"]:
                self._by_path[path] = self._by_asset.setdefault(each["asset"], path)

    def of_path(self, path: str) -> str:
        """The name of the content at a path below the media's folder."""
        return self._by_path.get(path, path)

    def ranked(self, results: Iterable[Mapping[str, Any]]) -> list[str]:
        """The names of a search's results, best first."""
        return [self._by_asset[result["asset"]] for result in results]


def ask(installation: Installation, texts: Sequence[str], *options: str) -> list[list[dict[str, Any]]]:
    """The results of each question by one `mediaflow search -`."""
    said = installation.run("search", "-", *options, stdin="\n".join(texts) + "\n")
    answers = [json.loads(line) for line in said.output.splitlines()]
    if [answer["query"] for answer in answers] != [text.strip() for text in texts]:
        raise RuntimeError("mediaflow search - did not answer every question in order")
    return [answer["results"] for answer in answers]


def by_words(installation: Installation, media: Path, names: Names) -> list[Row]:
    """Recall and mean reciprocal rank over all of queries.jsonl, in everything that was submitted."""
    asked = [json.loads(line) for line in (media / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    answers = ask(installation, [each["query"] for each in asked], "--limit", str(DEPTH))
    grouped: dict[str, list[Figures]] = defaultdict(list)
    for each, results in zip(asked, answers, strict=True):
        right = {names.of_path(path) for path in each["relevant"]}
        neither = {names.of_path(path) for path in each["also_relevant"]} - right
        ranked = [name for name in names.ranked(results) if name not in neither]
        figures = {f"R@{k}": len(right.intersection(ranked[:k])) / len(right) for k in RANKS}
        first = next((rank for rank, name in enumerate(ranked, 1) if name in right), None)
        figures["MRR"] = 1 / first if first else 0.0
        grouped[f"{each['type']} {each['lang']}"].append(figures)
        grouped["all"].append(figures)
    return [
        Row("search", f"{group} ({len(found)})", figure, value)
        for group, found in sorted(grouped.items())
        for figure, value in _means(found).items()
    ]


def photos_by_words(installation: Installation, manifest: Sequence[Entry], names: Names) -> list[Row]:
    """mAP and P@10 over captioned and labelled photos: the real search beside the encoder's cosines."""
    from mediaflow.models.encoders import image_encoder
    from mediaflow.settings import load_settings

    gallery = {entry["path"]: entry["truth"] for entry in manifest if entry["kind"] in GALLERY}
    paths = sorted(gallery)
    asked = [question for question in questions(gallery) if question.answers]
    answers = ask(installation, [each.text for each in asked], "--in", "image", "--limit", str(ALL))
    found = [_of_gallery(names.ranked(results), paths, names) for results in answers]
    encoder = image_encoder(load_settings())
    vectors = np.concatenate([encoder.encode_images([load(path)]) for path in paths])
    scores = encoder.encode_queries([each.text for each in asked]) @ vectors.T
    bare = [[paths[index] for index in np.argsort(-row, kind="stable")] for row in scores]
    return _beside("image", _by_kind(asked, found), _by_kind(asked, bare), "bare encoder")


def near_copies(
    installation: Installation, media: Path, manifest: Sequence[Entry], names: Names
) -> list[Row]:
    """Each member of a group of near copies asks for the others: `--like` beside the encoder's cosines."""
    from mediaflow.models.encoders import image_encoder, visual_vectors
    from mediaflow.settings import load_settings

    groups: dict[str, set[str]] = defaultdict(set)
    for entry in manifest:
        if entry["kind"] == "near_dup":
            groups[entry["truth"]["group"]] |= {entry["path"], entry["truth"]["of"]}
    kinds = (*GALLERY, "near_dup")
    paths = sorted(entry["path"] for entry in manifest if entry["kind"] in kinds)
    asked = [
        Question("copies", "all", path, frozenset(members - {path}))
        for members in groups.values()
        for path in sorted(members)
    ]
    found = []
    for each in asked:
        said = installation.run("search", "--like", str(media / each.text), "--limit", str(ALL), "--json")
        others = [path for path in paths if path != each.text]
        found.append(_of_gallery(names.ranked(json.loads(said.output)), others, names))
    encoder = image_encoder(load_settings())
    vectors = np.concatenate([visual_vectors(encoder, [load(path)]) for path in paths])
    bare = []
    for each in asked:
        order = np.argsort(-(vectors @ vectors[paths.index(each.text)]), kind="stable")
        bare.append([paths[index] for index in order if paths[index] != each.text])
    return _beside("near_dup", _by_kind(asked, found), _by_kind(asked, bare), "bare encoder")


def _of_gallery(ranked: Sequence[str], paths: Sequence[str], names: Names) -> list[str]:
    """The ranked paths of the gallery; those that the search does not name come last."""
    by_name = {names.of_path(path): path for path in paths}
    found = [by_name[name] for name in ranked if name in by_name]
    return found + [path for path in paths if path not in found]


def _by_kind(asked: Sequence[Question], ranked: Sequence[list[str]]) -> dict[str, Figures]:
    grouped: dict[str, list[Figures]] = defaultdict(list)
    for each, paths in zip(asked, ranked, strict=True):
        precision = len(each.answers.intersection(paths[:10])) / min(10, len(each.answers))
        figures = {"mAP": average_precision(paths, each.answers), "P@10": precision}
        grouped[f"{each.kind} {each.language}"].append(figures)
    return {f"{group} ({len(found)})": _means(found) for group, found in sorted(grouped.items())}


def _means(figures: Sequence[Figures]) -> Figures:
    return {name: sum(each[name] for each in figures) / len(figures) for name in figures[0]}


def _beside(part: str, ours: Mapping[str, Figures], bare: Mapping[str, Figures], name: str) -> list[Row]:
    return [
        Row(part, group, figure, value, {name: bare[group][figure]})
        for group, figures in ours.items()
        for figure, value in figures.items()
    ]
