"""How much work an item is, by what is known before anybody does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.weight import weight_of
from mediaflow.media.rendition import AudioTrack, Picture, Rendition

PAGES = tuple(Picture(f"page-{number}.jpg", 4, 4) for number in range(50))

SOUND = (AudioTrack("audio.flac"),)


def rendition(**said: Any) -> Rendition:
    return Rendition("ab" * 32, "video", Path("/nowhere"), **said)


@pytest.mark.parametrize(
    ("task", "what", "weight"),
    [
        ("ocr", rendition(pictures=PAGES), 50),
        ("ocr", rendition(pictures=PAGES[:1]), 1),
        ("ocr", rendition(pictures=PAGES[:3], media={"seconds": 3600.0}), 3),
        (
            "transcribe",
            rendition(pictures=PAGES[:3], media={"seconds": 3600.0}, audio=SOUND),
            180,
        ),
        ("transcribe", rendition(media={"seconds": 4}, audio=SOUND), 1),
        ("transcribe", rendition(media={}, audio=SOUND), 1),
        ("transcribe", rendition(media={"seconds": 3600.0}, audio=SOUND * 2), 360),
    ],
)
def test_a_file_weighs_by_its_pictures_or_by_its_sound(task: str, what: Rendition, weight: float) -> None:
    assert weight_of({"asset": what.asset}, task, what) == weight


def test_texts_weigh_by_their_number() -> None:
    assert weight_of({"asset": "ab" * 32, "texts": ["one", "two", "three"]}, "embed", None) == 3
