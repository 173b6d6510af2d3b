"""Subtitles: what was said, as SubRip (SRT) and WebVTT text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def srt(segments: Iterable[Mapping[str, Any]]) -> str:
    """SubRip text of segments, each with `start` and `end` in seconds and `text`."""
    blocks = [
        f"{number}\n{_span(segment, ',')}\n{_line(segment['text'])}\n"
        for number, segment in enumerate(segments, 1)
    ]
    return "\n".join(blocks)


def vtt(segments: Iterable[Mapping[str, Any]]) -> str:
    """WebVTT text (W3C) of the same segments."""
    cues = [f"{_span(segment, '.')}\n{_escaped(segment['text'])}\n" for segment in segments]
    return "\n".join(["WEBVTT\n", *cues])


def _span(segment: Mapping[str, Any], mark: str) -> str:
    return f"{_clock(segment['start'], mark)} --> {_clock(segment['end'], mark)}"


def _clock(seconds: float, mark: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def _line(text: str) -> str:
    """One line without an arrow, which would read as a time."""
    return " ".join(text.split()).replace("-->", "→")


def _escaped(text: str) -> str:
    return _line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
