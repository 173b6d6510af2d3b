"""What a file is, told by its first bytes, and who it is, told by all of them."""

from __future__ import annotations

import errno
import hashlib
from typing import BinaryIO

from mediaflow.errors import MediaError

HEAD = 512
_BLOCK = 1 << 20

# The image formats that are read, as Pillow calls them; none of them starts another program.
IMAGE_FORMATS = (
    "JPEG", "PNG", "GIF", "WEBP", "TIFF", "HEIF", "AVIF", "BMP", "DIB", "PSD", "JPEG2000", "PPM", "QOI",
)  # fmt: skip
# The containers that are read, as FFmpeg calls them: none that names other files or addresses (HLS, DASH,
# concat, SDP), none that takes text for a picture.
CONTAINERS = (
    "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,flv,asf,ogg,mxf,dv,rm,ivf,wtv,nut,yuv4mpegpipe,"
    "wav,w64,aiff,mp3,flac,aac,ac3,eac3,dts,caf,amr,amrnb,amrwb,au,ape,wv,tta,dsf,mpc,mpc8,voc,tak,loas,3dostr"
)
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_IMAGE_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG", "PNG"), (b"GIF8", "GIF"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"),
    (b"BM", "BMP"), (b"8BPS", "PSD"), (b"qoif", "QOI"), (b"\0\0\0\x0cjP  ", "JPEG 2000"),
)  # fmt: skip
_RECORDING_MAGIC = (
    (b"RIFF", 8, b"WAVE", "WAV"), (b"RIFF", 8, b"AVI ", "AVI"), (b"FORM", 8, b"AIF", "AIFF"),
    (b"fLaC", 0, b"", "FLAC"), (b"OggS", 0, b"", "Ogg"),
    (b"ID3", 0, b"", "MP3"), (b"", 4, b"ftyp", "MP4"), (b"", 4, b"moov", "MP4"),
    (b"\x1aE\xdf\xa3", 0, b"", "Matroska"),
    (b"0&\xb2u\x8ef\xcf\x11", 0, b"", "WMA or WMV"),
    (b"FLV", 0, b"", "FLV"), (b"\0\0\1\xba", 0, b"", "MPEG"), (b"\0\0\1\xb3", 0, b"", "MPEG"),
    (b"caff", 0, b"", "CAF"), (b"#!AMR", 0, b"", "AMR"), (b".RMF", 0, b"", "RealMedia"),
    (b"wvpk", 0, b"", "WavPack"), (b"MAC ", 0, b"", "Monkey's Audio"), (b"\x06\x0e\x2b\x34", 0, b"", "MXF"),
)  # fmt: skip
_OTHER_MAGIC = (
    (b"%PDF", "a PDF document"), (b"PK\3\4", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"), (b"7z\xbc\xaf", "a 7-Zip archive"), (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"), (b"MZ", "a program"), (b"SQLite format 3", "a database"),
    (b"\xd0\xcf\x11\xe0", "an office document"), (b"{\\rtf", "an RTF document"),
)  # fmt: skip


def hash_of(file: BinaryIO) -> str:
    """The SHA-256 of an open file's bytes, in hex: what an asset is known by. The file is at its start again.

    Raises MediaError for an empty file, and a blameless one where the file cannot be read.
    """
    digest = hashlib.sha256()
    size = 0
    try:
        file.seek(0)
        while block := file.read(_BLOCK):
            size += len(block)
            digest.update(block)
        file.seek(0)
    except OSError as error:
        raise unreadable(error) from None
    if not size:
        raise MediaError("the file is empty")
    return digest.hexdigest()


def unreadable(error: OSError) -> MediaError:
    """The failure to read an original, which may well work another time."""
    if error.errno in (errno.EINVAL, errno.EOVERFLOW):  # the answer to seeking where no file can have a byte
        return MediaError("a damaged file: it points to places outside itself")
    return MediaError(f"the file cannot be read: {error.strerror or error}", blameless=True)


def read_head(file: BinaryIO) -> bytes:
    """The first bytes of a file, which then is at its start again. Raises MediaError if there are none."""
    try:
        file.seek(0)
        head = file.read(HEAD)
        file.seek(0)
    except OSError as error:
        raise unreadable(error) from None
    if not head:
        raise MediaError("the file is empty")
    return head


def image_name(head: bytes) -> str | None:
    """The name of the image format that a file begins like, or None."""
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(len(head), head[3]), 4))}
        if head[8:12] in _AVIF_BRANDS or (brands & _AVIF_BRANDS and head[8:12] in _HEIF_BRANDS):
            return "AVIF"
        return "HEIC" if head[8:12] in _HEIF_BRANDS else None
    if head[:4] == b"RIFF":
        return "WebP" if head[8:12] == b"WEBP" else None
    return next((name for magic, name in _IMAGE_MAGIC if head.startswith(magic)), None)


def not_media(head: bytes) -> MediaError:
    """Says what a file that no decoder takes looks like."""
    if name := recording_name(head):
        return MediaError(f"a damaged {name} file: it cannot be decoded")
    return MediaError(foreign(head))


def foreign(head: bytes) -> str:
    """The reason for a person why a file that begins so is no medium."""
    said = described(head)
    return f"not a media file: it looks like {said}" if said else "not a media file (unknown format)"


def recording_name(head: bytes) -> str | None:
    """The name of the container that a file begins like, or None."""
    for magic, at, more, name in _RECORDING_MAGIC:
        if head.startswith(magic) and head[at : at + len(more)] == more:
            return name
    return None


def described(head: bytes) -> str | None:
    """What a file that begins so is, where that is known and no medium: text, an archive, a program, …"""
    for magic, name in _OTHER_MAGIC:
        if head.startswith(magic):
            return name
    if not head.strip(b"\0"):
        return "nothing but zeros"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page (HTML)"
    if start.startswith((b"<?xml", b"<svg")):
        return "XML" if b"<svg" not in start else "an SVG drawing"
    text = sum(byte >= 32 or byte in b"\t\r\n" for byte in head)
    return "text" if len(head) > 3 and text == len(head) and _is_utf8(head) else None


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.end >= len(head)  # a character cut by the end of the head
    return True
