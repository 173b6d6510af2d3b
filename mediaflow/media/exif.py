"""What a camera wrote beside the picture: when, with what and where it was taken."""

from __future__ import annotations

import math
import struct
import zlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

# What Pillow raises for EXIF data that breaks the rules; none of it concerns the pixels.
UNREADABLE = (
    OSError, ValueError, SyntaxError, RuntimeError, EOFError, LookupError, TypeError, ArithmeticError,
    AttributeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip
_ORIENTATION, _DETAILS, _GPS = 0x0112, 0x8769, 0x8825
_EXPOSURE = (0x829A, 0x829D)  # exposure time, aperture
_MIN_YEAR = 1800  # an earlier year is a clock that was never set
_MAX_TEXT = 200  # characters of a camera's name


def describe(image: Image.Image, size: tuple[int, int]) -> dict[str, Any]:
    """Format, upright size in pixels and, where the camera wrote them, time, camera and place.

    `taken` is ISO 8601, with an offset only where the camera gave one; `gps` is [latitude, longitude]
    in degrees. `size` is the stored width and height: decoding may have made the image smaller. EXIF
    data that cannot be read costs these facts, and is named in `warning`.
    """
    width, height = size
    if orientation(image) in (5, 6, 7, 8):
        width, height = height, width
    media: dict[str, Any] = {"width": width, "height": height, "format": image.format or "?"}
    main, details, gps = (_directory(image, tag) for tag in (None, _DETAILS, _GPS))
    taken = _time(details.get(0x9003), details.get(0x9011)) or _time(main.get(0x0132), details.get(0x9010))
    make, model = (_text(main.get(tag))[:_MAX_TEXT] for tag in (0x010F, 0x0110))
    camera = model if model.startswith(make) else f"{make} {model}"
    facts = {"taken": taken, "camera": camera.strip(), "gps": _place(gps)}
    if not is_readable(image.info.get("exif")):
        facts["warning"] = "damaged EXIF data: date, camera and place are not known"
    return media | {name: fact for name, fact in facts.items() if fact}


def orientation(image: Image.Image) -> Any:
    """The EXIF orientation, 1 to 8, or None where there is none that can be read."""
    known = _directory(image, None)
    return known.get(_ORIENTATION) or (None if known else _find_orientation(image.info.get("exif")))


def is_photo(image: Image.Image) -> bool:
    """Whether a camera wrote how it exposed the picture: a scanner does not."""
    details = _directory(image, _DETAILS)
    return any(tag in details for tag in _EXPOSURE)


def _find_orientation(data: Any) -> int | None:
    """The orientation in EXIF data of which Pillow reads nothing, because another entry is wrong."""
    if not isinstance(data, bytes):
        return None
    data = data.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    try:
        (at,) = struct.unpack_from(f"{order}L", data, 4)
        (entries,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(at + 2, at + 2 + 12 * entries, 12):
            tag, form, _, value = struct.unpack_from(f"{order}HHLH", data, entry)
            if (tag, form) == (_ORIENTATION, 3):
                return int(value)
    except struct.error:  # cut short, or no TIFF header
        pass
    return None


def is_readable(data: Any) -> bool:
    """Whether a block of EXIF data follows the rules; one that holds nothing at all does too."""
    from PIL import Image

    if not isinstance(data, bytes) or not data.removeprefix(b"Exif\0\0").strip(b"\0"):
        return True
    exif = Image.Exif()
    try:
        exif.load(data)
        return len(exif) > 0 or not _claims_entries(data.removeprefix(b"Exif\0\0"))
    except UNREADABLE:
        return False


def _claims_entries(data: bytes) -> bool:
    """Whether a TIFF header is followed by anything but an empty directory."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}L", data, 4)
        (entries,) = struct.unpack_from(f"{order}H", data, at)
    except struct.error:
        return True
    return bool(entries)


def _directory(image: Image.Image, tag: int | None) -> dict[int, Any]:
    """The values of the main directory, or of the one that `tag` points to, as far as they can be read."""
    try:
        exif = image.getexif()
        directory = exif if tag is None else exif.get_ifd(tag)
        tags = list(directory)
    except UNREADABLE:
        return {}
    values = {}
    for each in tags:
        try:
            values[each] = directory[each]
        except UNREADABLE:
            continue
    return values


def _text(value: Any) -> str:
    return str(value).replace("\0", " ").strip() if isinstance(value, str) else ""


def _time(value: Any, offset: Any) -> str | None:
    text = _text(value)
    zone = _text(offset)
    for stamp, form in ((text + zone, "%Y:%m:%d %H:%M:%S%z"), (text, "%Y:%m:%d %H:%M:%S")):
        try:
            taken = datetime.strptime(stamp, form)  # noqa: DTZ007 - cameras know no zone
        except (ValueError, OverflowError):
            continue
        return taken.isoformat() if taken.year >= _MIN_YEAR else None
    return None


def _place(gps: dict[int, Any]) -> list[float] | None:
    try:
        degrees = [sum(float(part) / 60**power for power, part in enumerate(gps[tag])) for tag in (2, 4)]
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    latitude, longitude = (
        value * (-1 if gps.get(tag) in ("S", "W") else 1) for value, tag in zip(degrees, (1, 3), strict=True)
    )
    if (
        not (math.isfinite(latitude) and math.isfinite(longitude))
        or abs(latitude) > 90
        or abs(longitude) > 180
    ):
        return None
    return [round(latitude, 6), round(longitude, 6)] if (latitude, longitude) != (0, 0) else None
