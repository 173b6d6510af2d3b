"""Descriptions: what a person is told of a recording, and of what in it is not in order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mediaflow.media.frames import Frames, shown_size
from mediaflow.media.recordings import End, Reading, Recording
from mediaflow.media.sound import Sound

MAX_WARNING = 500  # characters
_HARMLESS = 2  # packets of sound that do not decode: where MP3s were joined, one lacks what it refers to


def _warning(recording: Recording, end: End, reading: Reading) -> str | None:
    """All that a person should know of a recording that is not quite in order, or not read whole."""
    said = [*recording.streams.left_out, *_undecoded(reading)]
    reached, claimed = reading.seconds, recording.claimed
    frames = [each for each in reading.frames.values() if each.decoded]
    if recording.extent.another:
        said.append("another recording follows in the same file and is not read: split the file to read it")
    if end == "long":
        said.append(f"only the first {reached / 3600:.1f} hours were read: the setting renditions.max_hours")
    elif end == "slow":
        said.append(f"only the first {reached:.0f} s were read: it takes too long to decode")
    elif end == "crowded":
        said.append(f"only the first {reached:.0f} s were read: it claims more frames than a video can show")
    elif end == "damaged" or recording.is_cut or (claimed and reached < claimed * 0.9 - 2):
        said.append(
            f"cut short: {reached:.0f} s could be read"
            + (f" of {claimed:.0f} s" if claimed and round(reached) < round(claimed) else "")
        )
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
    """Format, codecs, seconds, when it was taken, a warning, and a video's upright size and frame rate."""
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
    if warning := _warning(recording, end, reading):
        media["warning"] = warning
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
