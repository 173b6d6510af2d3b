"""What a camera wrote beside the picture: when, with what and where it was taken."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image


def describe(image: Image.Image, size: tuple[int, int]) -> dict[str, Any]:
    """Format, upright size in pixels and, where the camera wrote them, time, camera and place.

    `taken` is ISO 8601, with an offset only where the camera gave one; `gps` is [latitude, longitude]
    in degrees. `size` is the stored width and height: decoding may have made the image smaller.
    """
    exif = image.getexif()
    width, height = size
    if exif.get(0x0112) in (5, 6, 7, 8):
        width, height = height, width
    media: dict[str, Any] = {"width": width, "height": height, "format": image.format or "?"}
    details = exif.get_ifd(0x8769)
    taken = _time(details.get(0x9003), details.get(0x9011)) or _time(exif.get(0x0132), details.get(0x9010))
    make, model = (_text(exif.get(tag)) for tag in (0x010F, 0x0110))
    camera = model if model.startswith(make) else f"{make} {model}"
    facts = {"taken": taken, "camera": camera.strip(), "gps": _place(exif.get_ifd(0x8825))}
    return media | {name: fact for name, fact in facts.items() if fact}


def _text(value: Any) -> str:
    return str(value).replace("\0", " ").strip() if isinstance(value, str) else ""


def _time(value: Any, offset: Any) -> str | None:
    text = _text(value)
    zone = _text(offset)
    for stamp, form in ((text + zone, "%Y:%m:%d %H:%M:%S%z"), (text, "%Y:%m:%d %H:%M:%S")):
        try:
            return datetime.strptime(stamp, form).isoformat()  # noqa: DTZ007 - cameras know no zone
        except ValueError:
            continue
    return None


def _place(gps: dict[int, Any]) -> list[float] | None:
    try:
        degrees = [sum(float(part) / 60**power for power, part in enumerate(gps[tag])) for tag in (2, 4)]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
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
