"""An image file without what stands beside the pixels: metadata that a decoder stumbles over."""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import BinaryIO

from mediaflow.media.exif import is_readable

# Ancillary chunks of PNG (third edition, section 11.3) on which the pixels depend.
_PNG_KEPT = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
_JPEG_KEPT = (0xE0, 0xEE)  # JFIF and Adobe: which colours the channels are
_JPEG_KEPT_BYTES = 12  # of both, at least
_WEBP_LEFT_OUT = (b"ICCP", b"EXIF", b"XMP ")
_WEBP_FLAGS = 0x20 | 0x08 | 0x04  # ICC profile, EXIF and XMP (WebP container, VP8X)
# Tags of TIFF 6.0 on which the pixels depend; orientation and sample format too.
_TIFF_KEPT = {
    *range(254, 260), 262, 263, 266, 273, 274, *range(277, 281), 284, 292, 293, 317, *range(320, 326),
    330, 332, 338, 339, 340, 341, 347, *range(512, 522), *range(529, 533),
}  # fmt: skip
_ITEM = re.compile(rb"infe[\2\3]...(?:..|....)..(Exif|mime)", re.DOTALL)  # ISO/IEC 14496-12, 8.11.6


def without_metadata(file: BinaryIO) -> BinaryIO | None:
    """A copy in memory of an image file without metadata; None where there is none that can be left out.

    EXIF data that can be read is kept: it may say how the picture stands. The file keeps its position.
    """
    at = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(at)
    strip = next((strip for magic, strip in _FORMS if data[:12].startswith(magic)), None)
    if data[4:8] == b"ftyp":
        strip = _heif
    try:
        bare = strip(data) if strip else data
    except (struct.error, IndexError, ValueError):
        return None
    return io.BytesIO(bare) if bare != data else None


def _png(data: bytes) -> bytes:
    kept = [data[:8]]
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">L", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        end = at + 12 + length
        is_whole = end <= len(data) and data[end - 4 : end] == struct.pack(">L", zlib.crc32(name + body))
        is_exif = name == b"eXIf" and is_whole and is_readable(body)
        if not name[:1].islower() or name in _PNG_KEPT or is_exif:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def _jpeg(data: bytes) -> bytes:
    kept = [data[:2]]
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        is_beside = 0xE0 <= marker <= 0xEF or marker == 0xFE
        body = data[at + 4 : end]
        is_exif = marker == 0xE1 and body.startswith(b"Exif\0\0") and is_readable(body)
        is_whole = marker in _JPEG_KEPT and len(body) >= _JPEG_KEPT_BYTES
        if not is_beside or is_whole or is_exif:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def _webp(data: bytes) -> bytes:
    if data[8:12] != b"WEBP":
        return data
    kept: list[bytes] = []
    at = 12
    while at + 8 <= len(data):
        name, (length,) = data[at : at + 4], struct.unpack_from("<L", data, at + 4)
        end = at + 8 + length + (length & 1)
        chunk = data[at:end]
        if name == b"VP8X" and len(chunk) > 8:
            chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_FLAGS]) + chunk[9:]
        if name == b"EXIF" and end <= len(data) and is_readable(chunk[8 : 8 + length]):
            chunk = chunk[: 8 + length] + b"\0" * (length & 1)
            kept = [_with_exif(each) for each in kept]
        elif name in _WEBP_LEFT_OUT:
            chunk = b""
        kept.append(chunk)
        at = end
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<L", len(body) + 4) + b"WEBP" + body


def _with_exif(chunk: bytes) -> bytes:
    return chunk[:8] + bytes([chunk[8] | 0x08]) + chunk[9:] if chunk.startswith(b"VP8X") else chunk


def _psd(data: bytes) -> bytes:
    resources = 30 + int(struct.unpack_from(">L", data, 26)[0])
    (length,) = struct.unpack_from(">L", data, resources)
    return data[:resources] + bytes(4) + data[resources + 4 + length :]


def _tiff(data: bytes) -> bytes:
    """Every value on which no pixel depends becomes one byte; nothing moves."""
    bare = bytearray(data)
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}L", data, 4)
    seen: set[int] = set()
    while at and at not in seen and at + 2 <= len(data):
        seen.add(at)
        (entries,) = struct.unpack_from(f"{order}H", data, at)
        end = at + 2 + 12 * entries
        for entry in range(at + 2, min(end, len(data) - 12), 12):
            if struct.unpack_from(f"{order}H", data, entry)[0] not in _TIFF_KEPT:
                struct.pack_into(f"{order}HL", bare, entry + 2, 1, 1)
        at = int.from_bytes(data[end : end + 4], "little" if order == "<" else "big")
    return bytes(bare)


def _heif(data: bytes) -> bytes:
    """Items of EXIF and XMP data become items of a kind that no decoder knows; nothing moves."""
    bare = bytearray(data)
    for item in _ITEM.finditer(data):
        bare[item.start(1) : item.end(1)] = b"skip"
    return bytes(bare)


_FORMS = (
    (b"\x89PNG", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"RIFF", _webp),
    (b"8BPS", _psd),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
)
