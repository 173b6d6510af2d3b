"""Videos and sound recordings: opened, and read once from front to back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from mediaflow.errors import MediaError
from mediaflow.media.clock import Clock
from mediaflow.media.content import CONTAINERS
from mediaflow.media.frames import Frames, Still, shown_size
from mediaflow.media.lengths import said_length
from mediaflow.media.sound import Sound
from mediaflow.media.streams import MAX_PIXELS, Streams, choose_streams

if TYPE_CHECKING:
    import av

_BEYOND = 100  # packets after the longest time allowed that end the reading; fewer have a wrong clock
_MIN_BIT_RATE = 100_000  # bits a second of a film
_HARMLESS = 2  # packets of sound that do not decode: where MP3s were joined, one lacks what it refers to
MAX_WARNING = 500  # characters

# How reading a recording ended: at its end, where data ends, at one of the limits.
End = Literal["whole", "damaged", "long", "slow", "crowded"]
Keep = Callable[[int, Still], None]


@dataclass(frozen=True, slots=True)
class Recording:
    """An opened container, its streams that are read, and its clock.

    `seconds` is how long the container says it is, None where it does not or only guesses.
    """

    container: av.container.InputContainer
    streams: Streams
    clock: Clock
    seconds: float | None

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
            self.seconds is None or self.container.format.name == "wav"
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
    return Recording(container, streams, clock, None if leaps else said_length(container, file))


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


def warning(recording: Recording, end: End, reading: Reading) -> str | None:
    """All that a person should know of a recording that is not quite in order, or not read whole."""
    said = [*recording.streams.left_out, *_undecoded(reading)]
    reached, claimed = reading.seconds, recording.claimed
    frames = [each for each in reading.frames.values() if each.decoded]
    if end == "long":
        said.append(f"only the first {reached / 3600:.1f} hours were read: the setting renditions.max_hours")
    elif end == "slow":
        said.append(f"only the first {reached:.0f} s were read: it takes too long to decode")
    elif end == "crowded":
        said.append(f"only the first {reached:.0f} s were read: it claims more frames than a video can show")
    elif end == "damaged" or (claimed and reached < claimed * 0.9 - 2):
        said.append(f"cut short: {reached:.0f} s could be read" + (f" of {claimed:.0f} s" if claimed else ""))
    elif any(each.errors for each in frames) or any(
        each.errors > _HARMLESS and each.samples for each in reading.sounds.values()
    ):
        said.append("damaged: some parts could not be decoded")
    return joined(said)


def _undecoded(reading: Reading) -> list[str]:
    """Of the tracks that seemed readable, those in which nothing could be decoded."""
    if reading.frames and not any(each.decoded for each in reading.frames.values()):
        said = ["no picture could be decoded"]
    else:
        said = [
            f"video track {number} ({_codec(each)}) cannot be decoded"
            for number, each in reading.frames.items()
            if each.packets and not each.decoded
        ]
    return said + [
        f"audio track {number} ({_codec(each)}) cannot be decoded"
        for number, each in reading.sounds.items()
        if each.errors and not each.samples
    ]


def joined(warnings: Sequence[str]) -> str | None:
    """Several warnings as one text of bounded length; None for none."""
    text = "; ".join(warnings)
    return (text if len(text) <= MAX_WARNING else text[: MAX_WARNING - 2] + " …") or None


def describe(recording: Recording, end: End, reading: Reading) -> dict[str, Any]:
    """Format, codecs, seconds, when it was taken, and of a video the upright size and the frames a second."""
    media: dict[str, Any] = {"format": recording.format}
    if taken := _taken(recording.container.metadata):
        media["taken"] = taken
    # What was read is the truth, unless the container knows that there is more.
    read_all = end == "whole" and recording.clock.joined
    seconds = reading.seconds if read_all else max(reading.seconds, recording.seconds or 0.0)
    if seconds:
        media["seconds"] = round(seconds, 3)
    if number := reading.moving:
        frames = reading.frames[number]
        video = frames.stream
        width, height = shown_size(video.codec_context.width, video.codec_context.height, video)
        if frames.rotation % 180:
            width, height = height, width
        rate = video.average_rate or video.guessed_rate
        media |= {"width": width, "height": height, "codec": _codec(frames)}
        media |= {"fps": round(float(rate), 3)} if rate else {}
    for sound in list(reading.sounds.values())[:1]:
        media["audio_codec" if reading.frames else "codec"] = _codec(sound)
    return media


def _codec(reader: Frames | Sound) -> str:
    name: str = reader.stream.codec_context.codec.canonical_name
    return name


def _taken(metadata: dict[str, str]) -> str | None:
    """When a camera recorded it, as ISO 8601; clocks that were never set stand before 1980."""
    for key in ("com.apple.quicktime.creationdate", "creation_time"):
        try:
            taken = datetime.fromisoformat(metadata.get(key, ""))
        except ValueError:
            continue
        if taken.year >= 1980:
            return taken.replace(microsecond=0).isoformat()
    return None
