"""Where in a recording somebody speaks: windows of sound that a recogniser can take at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mediaflow.errors import MediaError
from mediaflow.media.sound import RATE

LONGEST = 30.0  # seconds that Whisper hears at once
_PAD = round(0.4 * RATE)  # samples before and after speech, which the recogniser wants to hear too
_SPOKEN = LONGEST - 2 * _PAD / RATE
_STRETCH = 600 * RATE  # samples looked at together: this bounds the memory for long recordings
_WIDEST_GAP = 2.0  # seconds of silence that two utterances in one window may have between them


@dataclass(frozen=True, slots=True)
class Window:
    """Up to LONGEST seconds in which somebody speaks.

    `start` is in seconds of the recording, `samples` are float32 in -1 … 1, mono, at 16 kHz. `spans`
    are the utterances in it, in seconds from `start`.
    """

    start: float
    samples: np.ndarray
    spans: tuple[tuple[float, float], ...] = ()

    @property
    def lead(self) -> float:
        """Seconds before the voice begins."""
        return self.spans[0][0] if self.spans else 0.0

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE

    def part(self, start: float, end: float) -> Window:
        """The utterances between two times as a window of its own, with half of the pauses around them."""
        inside = [span for span in self.spans if start <= span[0] and span[1] <= end]
        before = max((span[1] for span in self.spans if span[1] <= start), default=None)
        after = min((span[0] for span in self.spans if span[0] >= end), default=None)
        opens = 0.0 if before is None else max(start - _PAD / RATE, (before + start) / 2)
        closes = self.seconds if after is None else min(end + _PAD / RATE, (end + after) / 2)
        samples = self.samples[round(opens * RATE) : round(closes * RATE)]
        return Window(self.start + opens, samples, tuple((one - opens, two - opens) for one, two in inside))


def windows(path: Path) -> Iterator[Window]:
    """The windows of a 16 kHz mono recording in which Silero VAD hears speech, in order.

    Raises MediaError where the file cannot be decoded.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(max_speech_duration_s=_SPOKEN, min_silence_duration_ms=160, speech_pad_ms=0)
    begin = 0
    held = np.zeros(0, np.float32)
    for block, last in _stretches(path):
        held = np.concatenate([held, block])
        spans = [(span["start"], span["end"]) for span in get_speech_timestamps(held, options)]
        joined = list(_join(spans))
        done = len(held)
        if not last and joined and done - joined[-1][1] < RATE:  # somebody is still speaking
            done = max(0, joined.pop()[0] - _PAD)
        before = 0
        for at, (start, end) in enumerate(joined):
            after = joined[at + 1][0] if at + 1 < len(joined) else done
            opens = max(start - _PAD, (before + start) // 2 if at else 0)
            closes = min(end + _PAD, (end + after) // 2 if at + 1 < len(joined) else done)
            inside = ((one - opens, two - opens) for one, two in spans if start <= one and two <= end)
            utterances = tuple((one / RATE, two / RATE) for one, two in inside)
            yield Window((begin + opens) / RATE, held[opens:closes], utterances)
            before = end
        begin, held = begin + done, held[done:]


def _join(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Utterances joined to windows as long as they may be: each costs the recogniser the same."""
    window: tuple[int, int] | None = None
    for start, end in spans:
        if window and end - window[0] <= _SPOKEN * RATE and start - window[1] <= _WIDEST_GAP * RATE:
            window = (window[0], end)
            continue
        if window:
            yield window
        window = (start, end)
    if window:
        yield window


def _stretches(path: Path) -> Iterator[tuple[np.ndarray, bool]]:
    """The samples in stretches, and whether a stretch is the last."""
    blocks: list[np.ndarray] = []
    size = 0
    for block in _decoded(path):
        blocks.append(block)
        size += len(block)
        if size >= _STRETCH:
            yield np.concatenate(blocks), False
            blocks, size = [], 0
    yield np.concatenate([*blocks, np.zeros(0, np.float32)]), True


def _decoded(path: Path) -> Iterator[np.ndarray]:
    import av

    try:
        with av.open(str(path), format="flac") as container:
            for frame in container.decode(audio=0):
                yield frame.to_ndarray().reshape(-1).astype(np.float32) / 32768.0
    except av.FFmpegError as error:
        raise MediaError(f"its rendition cannot be read: {error.strerror}", permanent=False) from None
