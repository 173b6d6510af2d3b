"""Streams: which pictures and sound of a container are read, and what of it cannot be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediaflow.errors import MediaError

if TYPE_CHECKING:
    import av

MAX_PIXELS = 8192 * 4352  # of a frame, 8K; decoders hold up to 17 frames
MAX_AUDIO_TRACKS = 16
MAX_VIDEO_TRACKS = 4

_LIMITS = {"max_pixels": str(MAX_PIXELS)}
# A line of FFmpeg's description of a container: the stream's index, its codec, and its tag in the file.
_DESCRIBED = re.compile(
    r"Stream #\d+:(\d+)\S*: (?:Audio|Video): (\w{1,30})[^,]*?(?:\(([\w-]{1,30}) / 0x\w+\))?(?:,|$)", re.M
)


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams that are read, each with the number by which players name it, counted from 1.

    `left_out` says in words which others could not be read, and why.
    """

    videos: tuple[tuple[int, av.VideoStream], ...]
    audios: tuple[tuple[int, av.AudioStream], ...]
    left_out: tuple[str, ...]
    several_videos: bool
    several_audios: bool


def choose_streams(container: av.container.InputContainer, threads: int) -> Streams:
    """All streams of moving pictures and of sound that can be decoded, with their decoders set up.

    Raises MediaError where there are none, or where all pictures are larger than 8K.
    """
    pictures = [stream for stream in container.streams.video if not _is_cover(stream)]
    sounds = list(container.streams.audio)
    left_out: list[str] = []
    videos = _readable(container, pictures, "video", MAX_VIDEO_TRACKS, left_out)
    audios = _readable(container, sounds, "audio", MAX_AUDIO_TRACKS, left_out)
    fitting = []
    for number, stream in videos:
        size = (stream.codec_context.width, stream.codec_context.height)
        if size[0] * size[1] <= MAX_PIXELS:
            fitting.append((number, stream))
            continue
        what = f"frames of {size[0]} × {size[1]} pixels, more than the 8K that are read"
        if len(videos) == 1:
            raise MediaError(f"the video claims {what}")
        left_out.append(f"video track {number} claims {what}")
    if not fitting and not audios:
        raise MediaError("there is neither picture nor sound in it" + _because(left_out))
    for _, stream in [*fitting, *audios]:
        stream.codec_context.options = dict(_LIMITS)
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
    return Streams(tuple(fitting), tuple(audios), tuple(left_out), len(pictures) > 1, len(sounds) > 1)


def _because(left_out: list[str]) -> str:
    return f" that can be decoded: {'; '.join(left_out)}" if left_out else ""


def _readable(
    container: av.container.InputContainer, streams: list[Any], kind: str, limit: int, left_out: list[str]
) -> list[tuple[int, Any]]:
    """Those that some decoder knows, up to `limit`, with their numbers; words on the others in `left_out`."""
    known = [(number, stream) for number, stream in enumerate(streams, 1) if stream.codec_context]
    if len(known) < len(streams):
        names = _codecs(container)
        left_out += [
            f"{kind} track {number} ({names.get(stream.index, 'unknown codec')}) cannot be decoded"
            for number, stream in enumerate(streams, 1)
            if not stream.codec_context
        ]
    if len(known) > limit:
        left_out.append(f"only the first {limit} of {len(known)} {kind} tracks were read")
    return known[:limit]


def _codecs(container: av.container.InputContainer) -> dict[int, str]:
    """What codec each stream claims, also those of which PyAV knows nothing; by index."""
    import av

    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        described: str = container.dumps_format()  # type: ignore[attr-defined]
    except UnicodeDecodeError:  # of its metadata
        return {}
    finally:
        av.logging.set_level(level)
    return {
        int(index): codec if codec not in ("none", "unknown") or not tag else tag
        for index, codec, tag in _DESCRIBED.findall(described)
    }


def _is_cover(stream: av.VideoStream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))
