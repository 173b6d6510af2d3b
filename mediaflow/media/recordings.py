"""Videos and sound recordings: opened, and read once from front to back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from mediaflow.errors import MediaError
from mediaflow.media.content import CONTAINERS
from mediaflow.media.frames import Frames, Still, shown_size
from mediaflow.media.sound import Sound

if TYPE_CHECKING:
    import av

MAX_PIXELS = 8192 * 4352  # of a frame, 8K; decoders hold up to 17 frames
_BEYOND = 100  # packets after the longest time allowed that end the reading; fewer have a wrong clock

_LIMITS = {"max_pixels": str(MAX_PIXELS)}

# How reading a recording ended: at its end, where data ends, at one of the limits.
End = Literal["whole", "damaged", "long", "slow", "crowded"]


@dataclass(frozen=True, slots=True)
class Recording:
    """An opened container, its one video stream that is no cover picture, and its one audio stream."""

    container: av.container.InputContainer
    video: av.VideoStream | None
    audio: av.AudioStream | None

    @property
    def start(self) -> float:
        """Seconds on the container's clock at which playing begins."""
        return (self.container.start_time or 0) / 1_000_000

    @property
    def format(self) -> str:
        """The container's usual name."""
        name = self.container.format.name.split(",")[0]
        brand = self.container.metadata.get("major_brand", "")
        return name if name != "mov" else "mov" if brand.startswith("qt") else "mp4"

    @property
    def seconds(self) -> float | None:
        """How long the container says it is."""
        duration = self.container.duration
        return duration / 1_000_000 if duration and duration > 0 else None

    @property
    def claimed(self) -> float | None:
        """How long picture and sound should be; unlike `seconds` without the subtitles, if that is known."""
        lengths = [
            float(stream.duration * stream.time_base)
            for stream in (self.video, self.audio)
            if stream and stream.duration and stream.time_base
        ]
        return max(lengths) if lengths else None if self.container.streams.subtitles else self.seconds


def open_recording(file: BinaryIO, threads: int) -> Recording | None:
    """The recording in a file, or None where FFmpeg knows no container of ours in it.

    Raises MediaError where there is a container but no stream that could be seen or heard.
    """
    import av

    av.logging.set_level(None)
    try:
        container = av.open(
            file, "r", options={"format_whitelist": CONTAINERS, **_LIMITS}, metadata_errors="replace"
        )
    except (av.FFmpegError, ValueError):
        return None
    videos = [stream for stream in container.streams.video if _is_moving(stream)]
    video = next(iter(videos), None)
    best = container.streams.best("audio")
    audio = best if isinstance(best, av.AudioStream) and best.codec_context else None
    for stream in (video, audio):
        if stream is not None:
            stream.codec_context.options = dict(_LIMITS)
            stream.codec_context.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
    if video is None and audio is None:
        container.close()
        raise MediaError("there is neither picture nor sound in it")
    if video is not None and video.codec_context.width * video.codec_context.height > MAX_PIXELS:
        size = f"{video.codec_context.width} × {video.codec_context.height}"
        container.close()
        raise MediaError(f"the video claims frames of {size} pixels, more than the 8K that are read")
    return Recording(container, video, audio)


def read_recording(
    recording: Recording,
    sound: Sound | None,
    frames: Frames | None,
    keep: Callable[[Still], None],
    most: float,
    patience: float,
) -> End:
    """Demux once and hand each packet to whom it is for; returns how it ended.

    `most` is how many seconds of the recording are read, `patience` how many seconds that may take.
    """
    import av

    streams = [each.stream for each in (frames, sound) if each]
    end: End = "whole"
    beyond = 0
    deadline = time.monotonic() + patience
    try:
        for packet in recording.container.demux(streams):
            if not packet.size:
                continue
            if _time(packet, recording) > most:
                beyond += 1
            else:
                _hand(packet, sound, frames, keep)
            if beyond > _BEYOND or (sound and sound.seconds > most):
                end = "long"
            elif frames and frames.crowded:
                end = "crowded"
            elif time.monotonic() > deadline:
                end = "slow"
            if end != "whole":
                break
    except av.FFmpegError:
        end = "damaged"
    if frames:
        for still in frames.feed(None):
            keep(still)
    if sound:
        sound.feed(None)
    return end


def warning(recording: Recording, end: End, sound: Sound | None, frames: Frames | None) -> str | None:
    """What a person should know of a recording that is not quite in order, or was not read to its end."""
    if frames and not frames.decoded:
        return "no picture could be decoded"
    reached = max(sound.seconds if sound else 0.0, frames.reached if frames else 0.0)
    claimed = recording.claimed
    if end == "long":
        return f"only the first {reached / 3600:.1f} hours were read: the setting renditions.max_hours"
    if end == "slow":
        return f"only the first {reached:.0f} s were read: it takes too long to decode"
    if end == "crowded":
        return f"only the first {reached:.0f} s were read: it claims more frames than a video can show"
    if end == "damaged" or (claimed and reached < claimed * 0.9 - 2):
        return f"cut short: {reached:.0f} s could be read" + (f" of {claimed:.0f} s" if claimed else "")
    if (sound and sound.errors) or (frames and frames.errors):
        return "damaged: some parts could not be decoded"
    return None


def _time(packet: av.Packet[Any], recording: Recording) -> float:
    """Where in the recording a packet belongs, in seconds; 0 where it does not say."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return 0.0 if stamp is None else float(stamp * packet.time_base) - recording.start


def describe(recording: Recording, sound: Sound | None, rotation: int = 0) -> dict[str, Any]:
    """Format, codecs, seconds, when it was taken, and of a video the upright size and the frames a second."""
    media: dict[str, Any] = {"format": recording.format}
    if taken := _taken(recording.container.metadata):
        media["taken"] = taken
    seconds = recording.seconds or (sound.seconds if sound else None)
    if seconds:
        media["seconds"] = round(seconds, 3)
    if video := recording.video:
        width, height = shown_size(video.codec_context.width, video.codec_context.height, video)
        if rotation % 180:
            width, height = height, width
        rate = video.average_rate or video.guessed_rate
        media |= {"width": width, "height": height, "codec": video.codec_context.codec.canonical_name}
        media |= {"fps": round(float(rate), 3)} if rate else {}
    if audio := recording.audio:
        media["audio_codec" if recording.video else "codec"] = audio.codec_context.codec.canonical_name
    return media


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


def _is_moving(stream: av.VideoStream) -> bool:
    from av.stream import Disposition

    if stream.codec_context is None:  # no decoder knows it
        return False
    return not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)


def _hand(
    packet: av.Packet[Any], sound: Sound | None, frames: Frames | None, keep: Callable[[Still], None]
) -> None:
    if frames and packet.stream is frames.stream:
        for still in frames.feed(packet):
            keep(still)
    elif sound:
        sound.feed(packet)
