"""The weight of an item: how much work it is beside a photo, by what is known before anybody does it."""

from __future__ import annotations

from typing import Any

from jobs.task import find_task
from mediaflow.media.rendition import Rendition

# Sound of so many seconds weighs as much as a picture.
SOUND_SECONDS = 20.0


def weight_of(item: dict[str, Any], task: str, rendition: Rendition | None) -> float:
    """Its pictures, its texts, or the sound of its tracks in pieces of SOUND_SECONDS; 1 at least."""
    if rendition is None:
        return float(max(1, len(item.get("texts") or ())))
    if find_task(task).needs == "audio":
        seconds = rendition.media.get("seconds")
        each = seconds / SOUND_SECONDS if isinstance(seconds, int | float) else 1.0
        return max(1.0, each * len(rendition.audio))
    return float(max(1, len(rendition.pictures)))
