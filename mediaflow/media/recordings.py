"""Recordings: videos and sound, opened, and read once from front to back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

from mediaflow.errors import MediaError
from mediaflow.media.clock import Clock
from mediaflow.media.content import CONTAINERS
from mediaflow.media.extents import Extent, extent_of
from mediaflow.media.frames import Frames, Still
from mediaflow.media.lengths import SIZED, said_length
from mediaflow.media.sound import Sound
from mediaflow.media.streams import MAX_PIXELS, Streams, choose_streams

if TYPE_CHECKING:
    import av

_BEYOND = 100  # packets after the longest time allowed that end the reading; fewer have a wrong clock
_MIN_BIT_RATE = 100_000  # bits a second of a film

# How reading a recording ended: at its end, where data ends, at one of the limits.
End = Literal["whole", "damaged", "long", "slow", "crowded"]
Keep = Callable[[int, Still], None]


@dataclass(frozen=True, slots=True)
class Recording:
    """An opened container, its streams that are read, its clock, and how far it reaches in its file.

    `seconds` is how long the container says it is, None where it does not or only guesses.
    """

    container: av.container.InputContainer
    streams: Streams
    clock: Clock
    extent: Extent
    seconds: float | None

    @property
    def is_cut(self) -> bool:
        """Whether the file ends before the recording does, by its chunks."""
        return (self.extent.said or 0) > self.container.size

    @property
    def format(self) -> str:
        """The container's usual name."""
        name = self.container.format.name.split(",")[0]
        brand = self.container.metadata.get("major_brand", "")
        return name if name != "mov" else "mov" if brand.startswith("qt") else "mp4"

    @property
    def claimed(self) -> float | None:
        """How long picture and sound should be; unlike `seconds` without the subtitles, if that is known."""
        if (
            self.seconds is None or self.container.format.name in SIZED
        ):  # whose stream is as long as it is there
            return self.seconds
        lengths = [
            float(stream.duration * stream.time_base)
            for _, stream in (*self.streams.videos, *self.streams.audios)
            if stream.duration and stream.time_base
        ]
        return max(lengths) if lengths else None if self.container.streams.subtitles else self.seconds

    @property
    def expected(self) -> float:
        """How long it is as far as one can tell before it is read; 0 where one cannot."""
        if self.seconds is not None:
            return self.seconds
        # The clocks of joined clips may lie days apart, which their bytes do not fill.
        return min(self._guessed or 0.0, self.container.size * 8 / _MIN_BIT_RATE)

    @property
    def _guessed(self) -> float | None:
        duration = self.container.duration
        return duration / 1_000_000 if duration and duration > 0 else None

    @property
    def longest(self) -> float | None:
        """The second up to which silence may stand for missing sound; None where nothing says."""
        if self.clock.leaps:
            return float("inf")
        return None if self._guessed is None else self._guessed + 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: of each video track, by its number, the frames; of each audio track the sound."""

    frames: dict[int, Frames]
    sounds: dict[int, Sound]

    @property
    def readers(self) -> list[Frames | Sound]:
        return [*self.frames.values(), *self.sounds.values()]

    @property
    def seconds(self) -> float:
        """How much was read."""
        return max(reader.seconds for reader in self.readers)

    @property
    def moving(self) -> int | None:
        """The number of the video track that a recording is known by: not a still beside a film."""
        return next((number for number, each in self.frames.items() if each.packets > 1), None) or next(
            iter(self.frames), None
        )


def open_recording(file: BinaryIO, threads: int) -> Recording | None:
    """The recording in a file, or None where FFmpeg knows no container of ours in it.

    Raises MediaError where there is a container but no stream that could be seen or heard.
    """
    import av
    from av.format import Flags

    av.logging.set_level(None)
    options = {"format_whitelist": CONTAINERS, "max_pixels": str(MAX_PIXELS)}
    try:
        container = av.open(file, "r", options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError):
        return None
    try:
        streams = choose_streams(container, threads)
    except MediaError:
        container.close()
        raise
    leaps = bool(container.format.flags & Flags.ts_discont.value)  # type: ignore[operator]
    clock = Clock((container.start_time or 0) / 1_000_000, leaps)
    extent = extent_of(file, container.size)
    seconds = None if leaps else said_length(container, file, extent)
    return Recording(container, streams, clock, extent, seconds)


def read_recording(recording: Recording, reading: Reading, keep: Keep, most: float, patience: float) -> End:
    """Demux once and hand each packet to the reader of its stream; returns how it ended.

    `most` is how many seconds of the recording are read, `patience` how many seconds that may take.
    `keep` gets the number of the video track and each frame that is worth it.
    """
    import av

    frames = {each.stream.index: (number, each) for number, each in reading.frames.items()}
    sounds = {each.stream.index: each for each in reading.sounds.values()}
    streams = [reader.stream for reader in reading.readers]
    end: End = "whole"
    beyond = 0
    deadline = time.monotonic() + patience
    try:
        for packet in recording.container.demux(streams):
            if not packet.size:
                continue
            index = packet.stream.index
            if (recording.clock.place(packet) or 0.0) > most:
                beyond += 1
            elif index in sounds:
                sounds[index].feed(packet)
            else:
                number, video = frames[index]
                for still in video.feed(packet):
                    keep(number, still)
            if beyond > _BEYOND or any(sound.seconds > most for sound in sounds.values()):
                end = "long"
            elif any(video.crowded for video in reading.frames.values()):
                end = "crowded"
            elif time.monotonic() > deadline:
                end = "slow"
            if end != "whole":
                break
    except av.FFmpegError:
        end = "damaged"
    for number, video in reading.frames.items():
        for still in video.feed(None):
            keep(number, still)
    for sound in sounds.values():
        sound.feed(None)
    return end
