"""Extents: how many bytes a recording says it has, told by its chunks, without decoding anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_UNKNOWN_SIZE = 0xFFFF0000  # bytes, and more: what is written to a pipe says as much as fits, or 0
_W64, _ASF = b"riff.\x91\xcf\x11", b"0&\xb2u\x8ef\xcf\x11"
_ONE_ONLY = (b"WAVE", b"AIFF", b"AIFC")  # of which FFmpeg does not read another
_CONTENT = (b"mdat", b"moov", b"moof")  # boxes without which something is missing
_MAX_BOXES = 10_000  # of an MP4 that is written in fragments
_OGG_PAGE = 27 + 255 + 255 * 255  # bytes at most


@dataclass(frozen=True, slots=True)
class Extent:
    """The bytes that a file should have, None where that is unknown; whether another recording follows."""

    said: int | None = None
    another: bool = False


def extent_of(file: BinaryIO, size: int) -> Extent:
    """The extent of the first recording in a file of `size` bytes, whose place stays."""
    place = file.tell()
    try:
        head = _read(file, 0, 64)
        if head[4:8] == b"ftyp":
            return _of_boxes(file)
        if head[:4] == b"OggS":
            return Extent(_end_of_pages(file, size))
        said = _said(file, head)
        if said is None or said >= size or head[8:12] not in _ONE_ONLY:
            return Extent(said)
        follows = _read(file, said + said % 2, 12)
        return Extent(said, len(follows) == 12 and (follows[:4], follows[8:]) == (head[:4], head[8:12]))
    finally:
        file.seek(place)


def _said(file: BinaryIO, head: bytes) -> int | None:
    """The bytes that the first chunk gives."""
    kind = head[8:12]
    if head[:4] == b"RIFF" and kind in (b"WAVE", b"AVI "):
        return _known(8 + int.from_bytes(head[4:8], "little"))
    if head[:4] == b"RF64" and head[12:16] == b"ds64":
        return 8 + int.from_bytes(head[20:28], "little")
    if head[:4] == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return _known(8 + int.from_bytes(head[4:8], "big"))
    if head[:8] == _W64:
        return int.from_bytes(head[16:24], "little")
    if head[:4] == b"caff":
        return _end_of_caf(file)
    if head[:8] == _ASF:
        start = int.from_bytes(head[16:24], "little")
        data = int.from_bytes(_read(file, start + 16, 8), "little")
        return start + data if data > 50 else None  # a live one says no more than the head of its data
    return None


def _known(said: int) -> int | None:
    return said if 8 < said < _UNKNOWN_SIZE else None


def _end_of_caf(file: BinaryIO) -> int | None:
    """The end of the chunk of data."""
    at = 8
    for _ in range(100):
        head = _read(file, at, 12)
        length = int.from_bytes(head[4:], "big", signed=True)
        if len(head) < 12 or length < 0:
            return None
        at += 12 + length
        if head[:4] == b"data":
            return at
    return None


def _end_of_pages(file: BinaryIO, size: int) -> int | None:
    """The end of the last page of an Ogg file, which may lie behind the end of the file."""
    start = max(0, size - _OGG_PAGE)
    tail = _read(file, start, _OGG_PAGE)
    at = tail.rfind(b"OggS")
    segments = tail[at + 27 :][: tail[at + 26]] if 0 <= at < len(tail) - 27 else b""
    return start + at + 27 + len(segments) + sum(segments) if segments else None


def _of_boxes(file: BinaryIO) -> Extent:
    """The end of the last box; a second beginning is another recording unless fragments follow it."""
    boxes = list(_boxes(file))
    kinds = [kind for kind, _ in boxes]
    last, end = boxes[-1]
    return Extent(end if last in _CONTENT else None, kinds.count(b"ftyp") > 1 and b"moof" not in kinds)


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The kind and the end of each box at the top of an MP4."""
    at = 0
    for _ in range(_MAX_BOXES):
        head = _read(file, at, 16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if len(head) < 8 or length < 8 or not head[4:8].isalnum():
            return
        at += length
        yield head[4:8], at


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    if at >= 1 << 62:
        return b""
    file.seek(at)
    return file.read(count)
