"""Videos and sound recordings: opened, and read once from front to back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from mediaflow.errors import MediaError
from mediaflow.media.content import CONTAINERS
from mediaflow.media.frames import Frames, Still, shown_size
from mediaflow.media.sound import Sound

if TYPE_CHECKING:
    import av

_LONGEST_GAP = 3600.0  # seconds of silence that are believed where a file does not say how long it is


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
        container = av.open(file, "r", options={"format_whitelist": CONTAINERS}, metadata_errors="replace")
    except (av.FFmpegError, ValueError):
        return None
    videos = [stream for stream in container.streams.video if _is_moving(stream)]
    video = next(iter(videos), None)
    best = container.streams.best("audio")
    audio = best if isinstance(best, av.AudioStream) else None
    for stream in (video, audio):
        if stream is not None:
            stream.codec_context.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
    if video is None and audio is None:
        container.close()
        raise MediaError("there is neither picture nor sound in it")
    return Recording(container, video, audio)


def read_recording(
    recording: Recording, sound: Sound | None, frames: Frames | None, keep: Callable[[Still], None]
) -> bool:
    """Demux once and hand each packet to whom it is for; False where the file ends before its end."""
    import av

    streams = [each.stream for each in (frames, sound) if each]
    whole = True
    try:
        for packet in recording.container.demux(streams):
            if packet.size:
                _hand(packet, sound, frames, keep)
    except av.FFmpegError:
        whole = False
    if frames:
        for still in frames.feed(None):
            keep(still)
    if sound:
        sound.feed(None)
    return whole


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

    return not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)


def _hand(
    packet: av.Packet[Any], sound: Sound | None, frames: Frames | None, keep: Callable[[Still], None]
) -> None:
    if frames and packet.stream is frames.stream:
        for still in frames.feed(packet):
            keep(still)
    elif sound:
        sound.feed(packet)
