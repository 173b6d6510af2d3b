"""Quality on real media with ground truth: mediaflow beside bare libraries, on the same files.

A part (`ocr`, `nsfw`, `pose`) has `score(findings, manifest, media)`, which knows nothing of where findings
come from, and `measure(media)`, which makes them and returns rows.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Finding = Mapping[str, Any]
Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one group of files: mediaflow's, and by their names those of bare libraries."""

    part: str
    group: str
    figure: str
    ours: float
    others: Mapping[str, float] = field(default_factory=dict)
    higher_is_better: bool = True


def read_manifest(media: Path) -> list[dict[str, Any]]:
    """The entries of the media's manifest.jsonl."""
    return [json.loads(line) for line in (media / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def find(task_name: str, media: Path, paths: Iterable[str]) -> dict[str, Finding]:
    """What a task finds in files of the media, each through the rendition that `prepare` would make."""
    from jobs.task import find_task
    from mediaflow.media.prepare import make_rendition
    from mediaflow.settings import load_settings

    task = find_task(task_name)(load_settings())
    task.load()
    found: dict[str, Finding] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            rendition = make_rendition(str(media / path), Path(folder) / str(number), task.settings)
            found[path] = task.analyse([rendition])[0].data
    return found


def rows(
    part: str, ours: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]], lower: str
) -> list[Row]:
    """Rows of scores {group: {figure: value}}; `lower` names the figures that are better when lower."""
    return [
        Row(
            part,
            group,
            figure,
            value,
            {name: scores[group][figure] for name, scores in others.items()},
            figure not in lower.split(),
        )
        for group, figures in ours.items()
        for figure, value in figures.items()
    ]
