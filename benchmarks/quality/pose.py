"""How well people's keypoints are found: object keypoint similarity, PCK, and people who are not there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import Entry, Finding, Row, find, read_manifest, rows

# Which of BlazePose's 33 keypoints are COCO's 17, and COCO's constants for their spread (cocoeval.py).
COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
WELL_VISIBLE = 8  # keypoints that are annotated
BOX_SCALE = 1.25


def measure(media: Path) -> list[Row]:
    """Our figures beside the same models used in the plainest way, by one pass and in the true boxes."""
    manifest = [entry for entry in read_manifest(media) if "pose" in entry["truth"]]
    paths = [entry["path"] for entry in manifest]
    others = {
        "one pass": score(bare_findings(media, manifest, False), manifest, media),
        "boxes given": score(bare_findings(media, manifest, True), manifest, media),
    }
    return rows("pose", score(find("pose", media, paths), manifest, media), others, lower="invented")


def bare_findings(media: Path, manifest: Sequence[Entry], given: bool) -> dict[str, Finding]:
    """Detector, then landmarks, once each on the original file; or landmarks in the true boxes."""
    from PIL import Image

    from jobs.blazepose import BlazePose, Roi, pyramid_of
    from mediaflow.models.store import model_folder

    model = BlazePose(model_folder("blazepose"), 2)
    truth = _people(media)
    findings: dict[str, Finding] = {}
    for entry in manifest:
        with Image.open(media / entry["path"]) as opened:
            image = np.asarray(opened.convert("RGB"))
        if given:
            boxes = [person["bbox"] for person in truth[entry["truth"]["pose"]["image_id"]]]
            rois = [Roi(x + w / 2, y + h / 2, max(w, h) * BOX_SCALE) for x, y, w, h in boxes]
        else:
            rois = [roi for _, roi in model.detect(image, 0.5)]
        bodies = [model.landmarks(pyramid_of(image)[:1], roi) for roi in rois]
        findings[entry["path"]] = {
            "people": [
                {"score": b.score, "keypoints": b.keypoints.tolist()}
                for b in bodies
                if given or b.score >= 0.5
            ]
        }
    return findings


def score(
    findings: Mapping[str, Finding], manifest: Sequence[Entry], media: Path
) -> dict[str, dict[str, float]]:
    """{group: {oks, pck, found}} of people with keypoints in the truth, and people invented.

    People found and true are paired by similarity, the best first; who is not found counts as 0.
    `found` is the share with a similarity over 0.5; PCK counts keypoints nearer than a fifth of the
    person's size. `invented` are people in pictures that show nobody.
    """
    truth = _people(media)
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    invented = 0
    for entry in manifest:
        if "pose" not in entry["truth"]:
            continue
        found = [np.asarray(p["keypoints"]) for p in findings.get(entry["path"], {"people": []})["people"]]
        if "pose_negative" in entry.get("tags", ()):
            invented += len(found)
        people = truth[entry["truth"]["pose"]["image_id"]]
        for person, pair in zip(people, _pair(people, found), strict=True):
            pairs["all people"].append(pair)
            if person["num_keypoints"] >= WELL_VISIBLE:
                pairs["well visible people"].append(pair)
    result: dict[str, dict[str, float]] = {}
    for group, values in pairs.items():
        oks, pck = np.array(values).T
        result[group] = {"oks": oks.mean(), "pck": pck.mean(), "found": (oks > 0.5).mean()}
    return result | {"pictures of nobody": {"invented": float(invented)}}


def similarity(keypoints: np.ndarray, person: Mapping[str, Any]) -> tuple[float, float]:
    """Object keypoint similarity (COCO) and PCK@0.2 of 33 keypoints with an annotated person, 0 to 1."""
    true = np.reshape(person["keypoints"], (17, 3)).astype(float)
    seen = true[:, 2] > 0
    distance = np.hypot(*(keypoints[list(COCO), :2] - true[:, :2]).T)
    likeness = np.exp(-(distance**2) / (2 * person["area"] * (2 * SIGMAS) ** 2))
    near = distance < 0.2 * max(person["bbox"][2:])
    return float(likeness[seen].mean()), float(near[seen].mean())


def _pair(people: Sequence[Mapping[str, Any]], found: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    scores = {(i, j): similarity(f, p) for i, p in enumerate(people) for j, f in enumerate(found)}
    result, used = {}, set()
    for i, j in sorted(scores, key=lambda pair: -scores[pair][0]):
        if i not in result and j not in used:
            result[i] = scores[i, j]
            used.add(j)
    return [result.get(i, (0.0, 0.0)) for i in range(len(people))]


def _people(media: Path) -> dict[int, list[dict[str, Any]]]:
    people: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for person in json.loads((media / "truth/coco_keypoints.json").read_text())["annotations"]:
        if not person["iscrowd"] and person["num_keypoints"]:
            people[person["image_id"]].append(person)
    return people
