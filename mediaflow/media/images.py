"""Photos and scans: decoded, upright, in sRGB, page by page."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from mediaflow.errors import MediaError
from mediaflow.media.content import IMAGE_FORMATS, image_name, read_head, unreadable
from mediaflow.media.pixels import reduce, shrink, to_srgb
from mediaflow.media.tiff import page_count

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 210_000_000  # a 200-megapixel phone photo passes; decoded, it takes up to 1.4 GB
MAX_BYTES = 2_000_000_000
_COSTS = {"WEBP": 16, "AVIF": 13, "HEIF": 10}  # bytes a pixel of decoders that hold several copies
ALL_PIXELS = 10 * MAX_PIXELS  # of all pages of a file together
_FRAMES_A_PAGE = 4  # a scan may hold thumbnails and the like between its pages
# What Pillow's plugins let through when a file is damaged, besides errors of reading it.
DAMAGED = (OSError, ValueError, SyntaxError, RuntimeError, EOFError, LookupError, TypeError, ArithmeticError,
           struct.error, zlib.error)  # fmt: skip
_READABLE = 0.1  # a picture of which less than this part is there is no use to anyone


def open_image(file: BinaryIO) -> Image.Image | None:
    """The image in a file, not decoded yet; None where it is no image at all.

    Raises MediaError where it begins like an image and is none, or is larger than MAX_PIXELS.
    """
    import pillow_heif
    from PIL import Image, UnidentifiedImageError

    pillow_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # checked below, with a reason that a person understands
    name = image_name(read_head(file))
    warnings.filterwarnings("ignore", module="PIL")
    try:
        image = Image.open(file, formats=IMAGE_FORMATS)
    except UnidentifiedImageError:
        if name is None:
            return None
        raise MediaError(f"a damaged {name} image: it cannot be decoded") from None
    except DAMAGED as error:
        raise _damaged(name, error) from None
    _check_size(image)
    return image


def pages(
    image: Image.Image, pixels: int, most: int
) -> Iterator[tuple[int | None, Image.Image, float, str | None]]:
    """Each page as (number, upright sRGB image, scale, warning).

    An image is one page, without a number, an animation its first frame; of a multi-page TIFF come up
    to `most` pages, numbered from 1, and no more than ALL_PIXELS together. No picture is longer than
    `pixels` on a side; `scale` is its pixels per pixel of the upright original. Raises MediaError where
    nothing of the first page can be decoded.
    """
    several = count(image)
    number = spent = 0
    for frame in range(several):
        if number == most or frame == most * _FRAMES_A_PAGE or spent > ALL_PIXELS:
            return
        try:
            if frame:
                image.seek(frame)
                _check_size(image)
            spent += image.width * image.height
            page = None if frame and _is_reduced(image) else _decode(image, pixels)
        except (MediaError, *DAMAGED) as error:
            if not number:
                raise _damaged(image.format, error) from None
            page = None  # a later page of a damaged scan: the others are kept
        if page:
            number += 1
            yield (number if several > 1 else None, *page)


def count(image: Image.Image) -> int:
    """How many pages `pages` could look at, at most MOST_COUNTED."""
    if image.format != "TIFF":
        return 1
    file: BinaryIO = image.fp  # type: ignore[attr-defined]
    at = file.tell()
    found = page_count(file)
    file.seek(at)
    return max(1, found)


def encode(image: Image.Image, form: str, quality: int) -> bytes:
    """The image as the bytes of a JPEG (4:4:4) or WebP file."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"subsampling": 0} if form == "JPEG" else {"method": 2}
    image.save(buffer, form, quality=quality, **options)
    return buffer.getvalue()


def _check_size(image: Image.Image) -> None:
    most = min(MAX_PIXELS, MAX_BYTES // _COSTS.get(image.format or "", 1))
    if image.width * image.height > most:
        raise MediaError(
            f"the image claims {image.width} × {image.height} pixels, more than the {most / 1e6:.0f} "
            "million that are read"
        )


def _decode(image: Image.Image, pixels: int) -> tuple[Image.Image, float, str | None]:
    size = image.size
    profile = image.info.get("icc_profile")
    if image.format in ("JPEG", "MPO"):
        image.draft(image.mode, (pixels, pixels))
    warning = _load(image)
    orientation = image.getexif().get(0x0112)
    page = to_srgb(shrink(reduce(image, pixels), pixels), profile)
    turn = _turns().get(orientation)
    if turn is not None:
        page = page.transpose(turn)
    return page, max(page.size) / max(size), warning


def _turns() -> dict[Any, Image.Transpose]:
    """What makes each EXIF orientation upright (Exif 2.3, tag 0x0112)."""
    from PIL.Image import Transpose as T

    return {
        2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_270,
        7: T.TRANSVERSE, 8: T.ROTATE_90,
    }  # fmt: skip


def _load(image: Image.Image) -> str | None:
    """Decode; what is cut short is decoded as far as it goes, with a warning."""
    from PIL import ImageFile

    try:
        image.load()
        return None
    except DAMAGED as error:
        first = error
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        image.load()
    except DAMAGED:
        raise first from None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    part = _filled(image)
    if part < _READABLE:
        raise MediaError(f"a damaged {image.format} image: only {part:.0%} of the picture can be decoded")
    return f"damaged: about {part:.0%} of the picture could be decoded"


def _filled(image: Image.Image) -> float:
    """The part of the rows above the even area that a decoder leaves where data ends."""
    rows = np.asarray(image.resize((32, image.height), 0).convert("L"))
    differs = np.flatnonzero((rows != rows[-1, -1]).any(axis=1))
    return 0.0 if not differs.size else float(differs[-1] + 1) / image.height


def _is_reduced(image: Image.Image) -> bool:
    """Whether a TIFF page is but a thumbnail of another (NewSubfileType, TIFF 6.0 section 8)."""
    tags = getattr(image, "tag_v2", {})
    return bool(int(tags.get(254, 0) or 0) & 1)


def _damaged(name: str | None, error: Exception) -> MediaError:
    if isinstance(error, MediaError):
        return error
    if isinstance(error, OSError) and error.errno:  # the disk's, not the decoder's
        return unreadable(error)
    return MediaError(f"a damaged {name or 'unknown'} image: {_say(error)}")


def _say(error: Exception) -> str:
    text = str(error).lower()
    if "decompressed data too large" in text or "too much memory used in text" in text:
        return "what is packed beside the picture unpacks to more than is read"
    short = "truncated" in text or "eof" in text or "not enough" in text or isinstance(error, EOFError)
    return "it is cut short" if short else "it cannot be decoded"
