"""Metadata beside the pixels: whatever they are, they never cost the picture."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mediaflow.errors import MediaError
from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Rendition
from mediaflow.settings import load_settings

RED = (220, 30, 30)
DAMAGED_EXIF = {
    "no TIFF": b"garbage that is no TIFF at all",
    "cut": b"MM\0*\0\0",
    "offset": b"MM\0*\xff\xff\xff\x00" + b"\0" * 40,
    "count": b"II*\0\x08\0\0\0" + b"\xff\xff" + b"\xff" * 60,
}
HARMLESS_EXIF = {"empty": b"", "zeros": b"\0" * 60}
FORMATS = ("PNG", "WEBP", "JPEG", "AVIF", "HEIF")


def directory(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF data, little endian: entries of tag, type, count and four bytes."""
    packed = b"".join(struct.pack("<HHL4s", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + bytes(4)


def saved(form: str, exif: bytes = b"") -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    image = Image.new("RGB", (64, 48), RED)
    buffer = io.BytesIO()
    # Pillow reads the EXIF data of some formats while it saves them: there they are put in afterwards.
    placed = directory((0x0128, 3, 1, b"\2\0\0\0")).ljust(max(len(exif), 26), b"\0")
    image.save(buffer, form, exif=b"Exif\0\0" + placed if form in ("AVIF", "HEIF") else b"Exif\0\0" + exif)
    data = buffer.getvalue()
    if form in ("AVIF", "HEIF"):
        assert data.count(placed) == 1
        data = data.replace(placed, exif.ljust(len(placed), b"\0"))
    return data


def render(tmp_path: Path, data: bytes) -> Rendition:
    path = tmp_path / "picture"
    path.write_bytes(data)
    return make_rendition(str(path), tmp_path / "rendition", load_settings())


def shows_red(rendition: Rendition) -> bool:
    with Image.open(rendition.path(rendition.pictures[0].file)) as image:
        return bool(np.abs(np.asarray(image.convert("RGB"), int)[20, 30] - RED).max() < 40)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("exif", DAMAGED_EXIF)
def test_damaged_exif_costs_date_and_camera_but_not_the_picture(tmp_path: Path, form: str, exif: str) -> None:
    rendition = render(tmp_path, saved(form, DAMAGED_EXIF[exif]))
    assert shows_red(rendition)
    assert "damaged" in rendition.media["warning"]
    assert not {"taken", "camera", "gps"} & rendition.media.keys()


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "AVIF"])  # there Pillow refuses it
@pytest.mark.parametrize("exif", HARMLESS_EXIF)
def test_exif_that_holds_nothing_is_not_spoken_of(tmp_path: Path, form: str, exif: str) -> None:
    rendition = render(tmp_path, saved(form, HARMLESS_EXIF[exif]))
    assert shows_red(rendition)
    assert "warning" not in rendition.media


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_orientation_is_applied_though_other_values_are_wrong(tmp_path: Path, form: str) -> None:
    exif = directory(
        (0x010F, 3, 9, b"\xff" * 4),  # a maker of numbers, beyond the end
        (0x0112, 3, 1, b"\6\0\0\0"),
        (0x011A, 5, 1, b"\xf0\xff\0\0"),  # a resolution beyond the end
        (0x8769, 4, 1, b"\xff\xff\xff\x7f"),
        (0x8825, 2, 4, b"abc\0"),
    )
    media = render(tmp_path, saved(form, exif)).media
    assert (media["width"], media["height"]) == (48, 64)


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("2300:01:01 00:00:00", "2300-01-01T00:00:00"),
        ("9999:12:31 23:59:59", "9999-12-31T23:59:59"),
        ("2021:05:06 07:08:09\0\0", "2021-05-06T07:08:09"),
        ("0000:00:00 00:00:00", None),
        ("0001:01:01 00:00:00", None),
        ("12021:05:06 07:08:09", None),
        ("2021:13:45 99:99:99", None),
        ("gestern früh", None),
        ("    :  :     :  :  ", None),
    ],
)
def test_a_date_is_one_of_the_calendar_or_left_out(tmp_path: Path, written: str, taken: str | None) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = written
    assert render(tmp_path, saved("JPEG", exif.tobytes()[6:])).media.get("taken") == taken


@pytest.mark.parametrize("degrees", [(1, 0), (0, 0), (2**31, 1)])
def test_a_place_whose_fractions_have_no_value_is_left_out(tmp_path: Path, degrees: Any) -> None:
    from PIL.TiffImagePlugin import IFDRational

    exif = Image.Exif()
    part = IFDRational(*degrees)
    exif.get_ifd(0x8825).update({1: "N", 2: (part,) * 3, 3: "E", 4: (part,) * 3})
    rendition = render(tmp_path, saved("JPEG", exif.tobytes()[6:]))
    assert shows_red(rendition)
    assert "gps" not in rendition.media


def jpeg_with(marker: int, body: bytes) -> bytes:
    data = saved("JPEG")
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def png_with(kind: bytes, body: bytes, at_end: bool = False, crc: int | None = None) -> bytes:
    data = saved("PNG")
    crc = zlib.crc32(kind + body) if crc is None else crc
    chunk = struct.pack(">L", len(body)) + kind + body + struct.pack(">L", crc)
    at = data.index(b"IEND") - 4 if at_end else 33
    return data[:at] + chunk + data[at:]


BESIDE = {
    "JPEG, Photoshop block cut": jpeg_with(0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
    "JPEG, ICC profile cut": jpeg_with(0xE2, b"ICC_PROFILE\0"),
    "JPEG, MPF garbage": jpeg_with(0xE2, b"MPF\0garbage of no use"),
    "JPEG, MPF cut": jpeg_with(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
    "JPEG, XMP garbage": jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0<\xff\xfe\0"),
    "JPEG, empty comment": jpeg_with(0xFE, b""),
    "JPEG, Adobe cut": jpeg_with(0xEE, b"Adobe"),
    "JPEG, JFIF cut": jpeg_with(0xE0, b"JFIF"),
    "PNG, checksum of text wrong": png_with(b"tEXt", b"Title\0a", crc=1),
    "PNG, text packed wrong": png_with(b"zTXt", b"Title\0\7garbage"),
    "PNG, profile packed wrong": png_with(b"iCCP", b"x\0\7garbage"),
    "PNG, profile cut": png_with(b"iCCP", b""),
    "PNG, chromaticities cut": png_with(b"cHRM", b"ab"),
    "PNG, gamma cut": png_with(b"gAMA", b""),
    "PNG, resolution cut": png_with(b"pHYs", b"1"),
    "PNG, text bomb after the pixels": png_with(b"zTXt", b"k\0\0" + zlib.compress(bytes(9_000_000)), True),
    "PNG, EXIF as text that is no hex": png_with(b"tEXt", b"Raw profile type exif\0\nexif\n9\nzz"),
    "WebP, EXIF cut short": saved("WEBP", b"MM\0*" + b"\1" * 90)[:-40],
}


@pytest.mark.parametrize("what", BESIDE)
def test_what_stands_beside_the_pixels_never_costs_the_picture(tmp_path: Path, what: str) -> None:
    assert shows_red(render(tmp_path, BESIDE[what]))


@pytest.mark.parametrize("form", [*FORMATS, "GIF", "TIFF", "JPEG2000"])
def test_pixels_that_cannot_be_decoded_are_a_media_error(tmp_path: Path, form: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, form)
    data = bytearray(buffer.getvalue())
    data[len(data) // 5 :] = b"\xa5" * len(data[len(data) // 5 :])
    reason = "damaged"
    try:
        render(tmp_path, bytes(data))
    except MediaError as error:
        reason = str(error)
    assert "damaged" in reason


def test_damaged_values_of_a_tiff_on_which_no_pixel_depends(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    beside = {315: "artist", 33432: "copyright", 700: b"<xmp/>", 34377: b"8BIM", 33723: b"x"}
    Image.new("RGB", (64, 48), RED).save(buffer, "TIFF", tiffinfo=beside)
    data = bytearray(buffer.getvalue())
    (at,) = struct.unpack_from("<L", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", data, entry)[0] in beside:
            struct.pack_into("<HLL", data, entry + 2, 12, 2**31, 2**31)
    assert shows_red(render(tmp_path, bytes(data)))
