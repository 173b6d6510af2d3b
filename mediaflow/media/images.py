"""Image files: opened, and a page of one decoded, upright, in sRGB."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from mediaflow.errors import MediaError
from mediaflow.media.bare import without_metadata
from mediaflow.media.content import IMAGE_FORMATS, image_name, read_head, unreadable
from mediaflow.media.exif import is_photo, orientation
from mediaflow.media.lettering import is_mostly_ground, side_for_lettering
from mediaflow.media.pixels import is_too_long, longest_side, reduce, shrink, to_srgb

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 210_000_000  # a 200-megapixel phone photo passes; decoded, it takes up to 1.4 GB
MAX_BYTES = 2_000_000_000
_COSTS = {"WEBP": 16, "AVIF": 13, "HEIF": 10}  # bytes a pixel of decoders that hold several copies
_METADATA_AT_END = ("PNG", "TIFF")  # what follows the pixels is parsed when they are decoded
_BARE = "mediaflow:bare"
# What Pillow's plugins let through when a file is damaged, besides errors of reading it.
DAMAGED = (OSError, ValueError, SyntaxError, RuntimeError, EOFError, LookupError, TypeError, ArithmeticError,
           struct.error, zlib.error)  # fmt: skip
_READABLE = 0.1  # a picture of which less than this part is there is no use to anyone


@dataclass(frozen=True, slots=True)
class Page:
    """One upright sRGB picture of an image file.

    `scale` is its pixels per pixel of the upright original, whose stored width and height are `size`.
    `number` counts from 1 where a file has several pages, `time` is in seconds where it is an animation.
    """

    image: Image.Image
    scale: float
    size: tuple[int, int]
    number: int | None = None
    time: float | None = None


def open_image(file: BinaryIO) -> Image.Image | None:
    """The image in a file, not decoded yet; None where it is no image at all.

    Metadata that cannot be read is left out (see `is_bare`). Raises MediaError where the file begins like
    an image and is none, or is larger than MAX_PIXELS.
    """
    from PIL import UnidentifiedImageError

    name = image_name(read_head(file))
    try:
        image = _open(file)
    except UnidentifiedImageError as error:
        if name is None:
            return None
        bare = _open_bare(file)
        if bare is None:
            raise MediaError(f"a damaged {name} image: it cannot be decoded") from error
        image = bare
    except DAMAGED as error:
        bare = _open_bare(file)
        if bare is None:
            raise damaged(name, error) from None
        image = bare
    check_size(image)
    return image


def is_bare(image: Image.Image) -> bool:
    """Whether an image was opened without its metadata, because they are damaged."""
    return _BARE in image.info


def _open(file: BinaryIO) -> Image.Image:
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # check_size has a reason that a person understands
    warnings.filterwarnings("ignore", module="PIL")
    return Image.open(file, formats=IMAGE_FORMATS)


def _open_bare(file: BinaryIO) -> Image.Image | None:
    """The image without its metadata; None where it cannot be opened so either."""
    bare = without_metadata(file)
    if bare is None:
        return None
    try:
        image = _open(bare)
    except DAMAGED:
        return None
    image.info[_BARE] = True
    return image


def encode(image: Image.Image, form: str, quality: int) -> bytes:
    """The image as the bytes of a JPEG (4:4:4) or WebP file."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"subsampling": 0} if form == "JPEG" else {"method": 2}
    image.save(buffer, form, quality=quality, **options)
    return buffer.getvalue()


def check_size(image: Image.Image) -> None:
    """Raise MediaError for an image that is larger than MAX_PIXELS, or that its decoder has no memory for."""
    most = min(MAX_PIXELS, MAX_BYTES // _COSTS.get(image.format or "", 1))
    if image.width * image.height > most:
        raise MediaError(
            f"the image claims {image.width} × {image.height} pixels, more than the {most / 1e6:.0f} "
            "million that are read"
        )


def decode_first(image: Image.Image, pixels: int, warn: Callable[[str], None]) -> Page:
    """The page without which an image is of no use. Raises MediaError where it cannot be decoded."""
    try:
        return decode(image, pixels, warn)
    except DAMAGED as error:
        raise damaged(image.format, error) from None


def decode(image: Image.Image, pixels: int, warn: Callable[[str], None]) -> Page:
    """The current page of an image, decoded. Raises MediaError where too little of it can be."""
    size = image.size
    longest = longest_side(size, pixels)
    loaded, warning = _load_small(image, longest)
    if warning:
        warn(warning)
    if is_bare(loaded):
        warn("damaged metadata beside the picture were left out")
    if loaded.size == size and not is_photo(loaded):
        wanted, is_limited = side_for_lettering(loaded, pixels)
        longest = max(longest, wanted)
        if is_limited:
            warn(f"a page of small lettering was read at {longest / max(size):.0%} of its size")
    page = to_srgb(shrink(reduce(loaded, longest), longest), loaded.info.get("icc_profile"))
    turn = _turns().get(orientation(loaded))
    if turn is not None:
        page = page.transpose(turn)
    if max(page.size) < max(size) and is_too_long(size, pixels):
        warn(f"a very long picture was read at {max(page.size) / max(size):.0%} of its size")
    return Page(page, max(page.size) / max(size), size)


def _load_small(image: Image.Image, longest: int) -> tuple[Image.Image, str | None]:
    """`_load`, a JPEG file at a fraction of its size that is enough; a page may need all of it."""
    size = image.size
    if image.format not in ("JPEG", "MPO"):
        return _load(image)
    file: BinaryIO = image.fp  # type: ignore[attr-defined]
    ratio = longest / max(size)
    image.draft(image.mode, (max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))))
    loaded, warning = _load(image)
    if loaded.size == size or warning or is_bare(loaded) or is_photo(loaded) or not is_mostly_ground(loaded):
        return loaded, warning
    return _load(_open(file))


def _turns() -> dict[Any, Image.Transpose]:
    """What makes each EXIF orientation upright (Exif 2.3, tag 0x0112)."""
    from PIL.Image import Transpose as T

    return {
        2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_270,
        7: T.TRANSVERSE, 8: T.ROTATE_90,
    }  # fmt: skip


def _load(image: Image.Image) -> tuple[Image.Image, str | None]:
    """The image, decoded; what is cut short is decoded as far as it goes, with a warning."""
    from PIL import Image, ImageFile

    try:
        image.load()
        return image, None
    except DAMAGED as error:
        first = error
    if bare := _load_bare(image):
        return bare, None
    if image.format == "TIFF" and image.tell():  # else what cannot be decoded shows the page before
        image.im = Image.new(image.mode, image.size).im
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
    return image, f"damaged: about {part:.0%} of the picture could be decoded"


def _load_bare(image: Image.Image) -> Image.Image | None:
    """The first page of an image, decoded without its metadata; None where that does not help either."""
    file = getattr(image, "fp", None)
    if image.format not in _METADATA_AT_END or file is None or image.tell() or is_bare(image):
        return None
    bare = _open_bare(file)
    try:
        if bare:
            bare.load()
        return bare
    except DAMAGED:
        return None


def _filled(image: Image.Image) -> float:
    """The part of the rows above the even area that a decoder leaves where data ends."""
    rows = np.asarray(image.resize((32, image.height), 0).convert("L"))
    differs = np.flatnonzero((rows != rows[-1, -1]).any(axis=1))
    return 0.0 if not differs.size else float(differs[-1] + 1) / image.height


def damaged(name: str | None, error: Exception) -> MediaError:
    """The failure to decode an image, for a person."""
    if isinstance(error, MediaError):
        return error
    if isinstance(error, OSError) and error.errno:  # the disk's, not the decoder's
        return unreadable(error)
    return MediaError(f"a damaged {name or 'unknown'} image: {_say(error)}")


def _say(error: Exception) -> str:
    text = str(error).lower()
    short = "truncated" in text or "eof" in text or "not enough" in text or isinstance(error, EOFError)
    return "it is cut short" if short else "it cannot be decoded"
