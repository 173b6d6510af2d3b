"""How well text in pictures is read: word recall and precision, character error rate."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import Entry, Finding, Row, find, read_manifest, rows


def measure(media: Path) -> list[Row]:
    """Our figures beside RapidOCR's as it comes, which brings the same weights."""
    manifest = [entry for entry in read_manifest(media) if entry["kind"] == "ocr"]
    paths = [entry["path"] for entry in manifest]
    others = {"RapidOCR": score(bare_findings(media, paths), manifest, media)}
    return rows("ocr", score(find("ocr", media, paths), manifest, media), others, lower="cer")


def bare_findings(media: Path, paths: Sequence[str]) -> dict[str, Finding]:
    """What RapidOCR 3 says of the original pictures, with the weights in its wheel.

    They are opened by Pillow, as its own loader misreads palettes and pictures of one bit.
    """
    from PIL import Image
    from rapidocr import RapidOCR

    engine = RapidOCR(
        params={"Global.log_level": "error", "EngineConfig.onnxruntime.intra_op_num_threads": 2}
    )
    findings = {}
    for path in paths:
        with Image.open(media / path) as image:
            bgr = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
        read = engine(bgr)
        found = zip(read.txts, read.boxes, strict=True) if read.txts else ()
        lines = [{"text": text, "box": box} for text, box in found]
        findings[path] = {"text": "\n".join(line["text"] for line in lines), "lines": lines}
    return findings


def score(
    findings: Mapping[str, Finding], manifest: Sequence[Entry], media: Path
) -> dict[str, dict[str, float]]:
    """{group: {recall, precision, cer?}} of ocr findings by path; a file without one counts as empty.

    Words are compared as a bag. The character error rate is that of each line of the truth against
    the stretch of the found text it fits best; scene photos have words in no order, and no such rate.
    """
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in manifest:
        if entry["kind"] != "ocr":
            continue
        finding = findings.get(entry["path"], {"text": "", "lines": []})
        sums[entry["path"].split("/")[1]].update(_counts(entry["truth"], finding, media))
    result: dict[str, dict[str, float]] = {}
    for group, count in sums.items():
        result[group] = {
            "recall": count["hits"] / count["wanted"],
            "precision": count["hits"] / max(1, count["found"]),
        }
        if count["letters"]:
            result[group]["cer"] = count["errors"] / count["letters"]
    return result


def _counts(truth: Mapping[str, Any], finding: Finding, media: Path) -> Counter[str]:
    boxes = json.loads((media / truth["boxes_file"]).read_text()) if "boxes_file" in truth else {}
    wanted = Counter(words(" ".join(truth.get("lines") or truth["words"])))
    found = Counter(words(finding["text"]))
    hits = wanted & found
    ignored = _ignored(finding["lines"], boxes.get("ignore_boxes", []), wanted)
    counts = Counter(hits=hits.total(), wanted=wanted.total(), found=found.total() - ignored)
    text = normalise(finding["text"])
    for line in map(normalise, truth.get("lines", [])):
        counts.update(errors=errors_within(line, text), letters=len(line))
    return counts


def _ignored(lines: Sequence[Mapping[str, Any]], boxes: Sequence[Any], wanted: Counter[str]) -> int:
    """How many found words that are not wanted lie in boxes that do not count."""
    frames = [np.reshape(box, (-1, 2)).astype(float) for box in boxes]
    ignored = 0
    for line in lines:
        box = np.asarray(line["box"], dtype=float)
        low, high = box.min(0), box.max(0)
        inside = sum(bool(((low <= f.mean(0)) & (f.mean(0) <= high)).all()) for f in frames)
        unwanted = (Counter(words(line["text"])) - wanted).total()
        centre_in = any(((f.min(0) <= box.mean(0)) & (box.mean(0) <= f.max(0))).all() for f in frames)
        ignored += unwanted if centre_in and inside <= 1 else min(unwanted, inside)
    return ignored


def normalise(text: str) -> str:
    """NFKC (which also makes the long s a round one), no case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """The runs of letters and digits of a normalised text."""
    return re.findall(r"\w+", normalise(text))


def errors_within(line: str, text: str) -> int:
    """Least edits that turn `line` into some stretch of `text`; at most the line's length."""
    letters = np.array([ord(letter) for letter in text], dtype=np.int32)
    steps = np.arange(len(text) + 1)
    costs = np.zeros(len(text) + 1, dtype=np.int64)
    for letter in line:
        replaced = costs[:-1] + (letters != ord(letter))
        nearest = np.concatenate([[costs[0] + 1], np.minimum(replaced, costs[1:] + 1)])
        costs = np.minimum.accumulate(nearest - steps) + steps
    return int(costs.min())
