"""How often harmless pictures are taken for pornography; there is none in the media, so no recall."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.quality import Entry, Finding, Row, find, read_manifest, rows

TAGS = ("nsfw_fp", "nsfw_borderline_benign", "nsfw_art")


def measure(media: Path) -> list[Row]:
    """Our figures beside the same model on the original files."""
    manifest = [entry for entry in read_manifest(media) if set(TAGS) & set(entry.get("tags", ()))]
    paths = [entry["path"] for entry in manifest]
    others = {"open_nsfw on the original": score(bare_findings(media, paths), manifest, media)}
    return rows(
        "nsfw",
        score(find("nsfw", media, paths), manifest, media),
        others,
        lower="unsafe unsure mean_score highest_score",
    )


def bare_findings(media: Path, paths: Sequence[str]) -> dict[str, Finding]:
    """What open_nsfw says of the original files, one at a time."""
    import onnxruntime
    from PIL import Image

    from jobs.nsfw import prepare, verdict
    from mediaflow.models.store import model_folder

    session = onnxruntime.InferenceSession(str(model_folder("open-nsfw") / "open_nsfw.onnx"))
    findings = {}
    for path in paths:
        with Image.open(media / path) as image:
            prepared = prepare(image.convert("RGB"))[None]
        value = float(session.run(None, {session.get_inputs()[0].name: prepared})[0][0, 1])
        findings[path] = {"score": value, "verdict": verdict(value)}
    return findings


def score(
    findings: Mapping[str, Finding],
    manifest: Sequence[Entry],
    media: Path,  # noqa: ARG001 - all parts are scored alike
) -> dict[str, dict[str, float]]:
    """{tag: {unsafe, unsure, mean_score, highest_score}}: files with these verdicts; scores are 0 to 1."""
    groups: dict[str, list[Finding]] = defaultdict(list)
    for entry in manifest:
        for tag in set(TAGS) & set(entry.get("tags", ())):
            if entry["path"] in findings:
                groups[tag].append(findings[entry["path"]])
    return {
        tag: {
            "unsafe": float(sum(finding["verdict"] == "unsafe" for finding in found)),
            "unsure": float(sum(finding["verdict"] == "unsure" for finding in found)),
            "mean_score": float(np.mean([finding["score"] for finding in found])),
            "highest_score": float(max(finding["score"] for finding in found)),
        }
        for tag, found in sorted(groups.items())
    }
