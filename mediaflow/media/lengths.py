"""Lengths: how long a recording says it is, told apart from what FFmpeg guesses by a bit rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from mediaflow.media.extents import Extent

if TYPE_CHECKING:
    import av

# Streams without a container: nothing in them says how long they are.
_RAW = {
    "aac", "ac3", "eac3", "dts", "amr", "amrnb", "amrwb", "loas", "h264", "hevc", "m4v", "mpegvideo",
}  # fmt: skip
SIZED = {"wav", "w64", "caf"}  # of which FFmpeg says how long what is there is
_HEADER = 4096  # bytes of an MP3's first frame and what stands before it
_GUESS = 0.005  # by which size and bit rate may differ from a length that was guessed from them


def said_length(container: av.container.InputContainer, file: BinaryIO, extent: Extent) -> float | None:
    """The seconds that a header gives; None where there is none, and the length is a guess or unknown."""
    duration = container.duration
    if not duration or duration <= 0:
        return None
    names = set(container.format.name.split(","))
    seconds = duration / 1_000_000
    if names & _RAW or ("mp3" in names and not _counts_frames(file)):
        return None
    if names & SIZED:
        return seconds * max(1.0, (extent.said or 0) / container.size)
    # An MP4's bit rates are computed from its length, not the other way round.
    return None if "mov" not in names and _is_guess(container, seconds) else seconds


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    """Some bytes of a file, whose place stays."""
    place = file.tell()
    try:
        file.seek(at)
        return file.read(count)
    finally:
        file.seek(place)


def _is_guess(container: av.container.InputContainer, seconds: float) -> bool:
    """Whether it is no more than the size divided by the bit rate, as FFmpeg estimates it."""
    streams = [stream for stream in container.streams if stream.codec_context is not None]
    rates = [stream.codec_context.bit_rate or 0 for stream in streams if stream.type in ("audio", "video")]
    if not rates or not all(rates) or container.size <= 0:
        return False
    return abs(seconds * sum(rates) / 8 / container.size - 1) < _GUESS


def _counts_frames(mp3: BinaryIO) -> bool:
    """Whether an MP3's first frame says how many there are (Xing, Info, VBRI)."""
    head = _read(mp3, 0, 10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:  # tags, whose size is 28 bits, seven a byte
        start = 10 + sum((byte & 127) << 7 * at for at, byte in enumerate(reversed(head[6:])))
    frame = _read(mp3, start, _HEADER)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))
