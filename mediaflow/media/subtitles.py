"""Subtitles: words joined to phrases that fit a screen, as SubRip (SRT) and WebVTT text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What fits a screen and can be read: two lines of 42 characters, seven seconds (the usual house styles).
_CHARACTERS = 84
_SECONDS = 7.0
_PAUSE = 1.0  # seconds of silence that end a phrase
_ENDS = (".", "!", "?", "…", "。", "！", "？")
_RESTS = (",", ";", ":", "、", "，", "–")


@dataclass(frozen=True, slots=True)
class Word:
    """A word, with the space before it and the mark after it, from `start` to `end` in seconds."""

    start: float
    end: float
    text: str


def phrases(words: Sequence[Word]) -> list[list[Word]]:
    """Words joined to sentences; those too long for a screen are cut at a comma, or else in half."""
    sentences: list[list[Word]] = []
    for word in words:
        last = sentences[-1] if sentences else None
        if last is None or _ends(last[-1]) or word.start - last[-1].end > _PAUSE:
            sentences.append([word])
        else:
            last.append(word)
    return [part for sentence in sentences for part in _cut(sentence)]


def with_marks(words: Iterable[Word]) -> list[Word]:
    """The words, with marks that a tokenizer gave as words of their own joined to the one before."""
    joined: list[Word] = []
    for word in words:
        is_mark = not word.text[:1].isspace() and not any(map(str.isalnum, word.text))
        if joined and is_mark:
            joined[-1] = Word(joined[-1].start, word.end, joined[-1].text + word.text)
        else:
            joined.append(word)
    return joined


def text_of(words: Sequence[Word]) -> str:
    """The words as text."""
    return "".join(word.text for word in words).strip()


def _ends(word: Word) -> bool:
    text = word.text.rstrip("\"'”’»)")
    return text.endswith(_ENDS) and not (text.endswith(".") and len(text.strip(" .")) <= 2)  # "1.", "Dr."


def _cut(words: list[Word]) -> list[list[Word]]:
    if len(words) < 2 or (len(text_of(words)) <= _CHARACTERS and words[-1].end - words[0].start <= _SECONDS):
        return [words]
    middle = len(text_of(words)) / 2

    def cost(at: int) -> float:
        off = abs(len(text_of(words[:at])) - middle)
        return off if words[at - 1].text.endswith(_RESTS) else off + middle / 2

    at = min(range(1, len(words)), key=cost)
    return [*_cut(words[:at]), *_cut(words[at:])]


def srt(segments: Iterable[Mapping[str, Any]]) -> str:
    """SubRip text of segments, each with `start` and `end` in seconds, `text`, and perhaps `track`."""
    segments = _labelled(segments)
    blocks = [
        f"{number}\n{_span(segment, ',')}\n{_line(segment['text'])}\n"
        for number, segment in enumerate(segments, 1)
    ]
    return "\n".join(blocks)


def vtt(segments: Iterable[Mapping[str, Any]]) -> str:
    """WebVTT text (W3C) of the same segments."""
    segments = _labelled(segments)
    cues = [f"{_span(segment, '.')}\n{_escaped(segment['text'])}\n" for segment in segments]
    return "\n".join(["WEBVTT\n", *cues])


def _labelled(segments: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The segments with the number of their track before the text, where there are several tracks."""
    segments = list(segments)
    if len({segment.get("track") for segment in segments}) < 2:
        return segments
    return [dict(each) | {"text": f"[{each.get('track')}] {each['text']}"} for each in segments]


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
