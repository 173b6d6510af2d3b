"""Photos, scans and animations: decoded, upright, in sRGB, page by page."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from mediaflow.errors import MediaError
from mediaflow.media.bare import without_metadata
from mediaflow.media.content import IMAGE_FORMATS, image_name, read_head, unreadable
from mediaflow.media.exif import is_photo, orientation
from mediaflow.media.lettering import is_mostly_ground, side_for_lettering
from mediaflow.media.pixels import is_too_long, longest_side, reduce, shrink, to_srgb
from mediaflow.media.seen import Seen
from mediaflow.media.tiff import MOST_COUNTED, page_count

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 210_000_000  # a 200-megapixel phone photo passes; decoded, it takes up to 1.4 GB
MAX_BYTES = 2_000_000_000
_COSTS = {"WEBP": 16, "AVIF": 13, "HEIF": 10}  # bytes a pixel of decoders that hold several copies
ALL_PIXELS = 10 * MAX_PIXELS  # of all pages of a file together
MAX_FRAMES = 1000  # of an animation that are looked at
_SEVERAL_FRAMES = ("GIF", "PNG", "WEBP", "AVIF", "HEIF")
_METADATA_AT_END = ("PNG", "TIFF")  # what follows the pixels is parsed when they are decoded
_BARE = "mediaflow:bare"
_FRAMES_A_PAGE = 4  # a scan may hold thumbnails and the like between its pages
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
            raise _damaged(name, error) from None
        image = bare
    _check_size(image)
    return image


def is_bare(image: Image.Image) -> bool:
    """Whether an image was opened without its metadata, because they are damaged."""
    return _BARE in image.info


def _open(file: BinaryIO) -> Image.Image:
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # _check_size has a reason that a person understands
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


def pages(image: Image.Image, pixels: int, most: int, warn: Callable[[str], None]) -> Iterator[Page]:
    """The pages of an image file; `warn` is told what is left out or damaged.

    A photo is one page. Of a multi-page TIFF come up to `most` pages, of an animation or a collection of
    photos (HEIC) the frames that differ, and no more than ALL_PIXELS together. No picture is longer than
    `longest_side` allows. Raises MediaError where no page can be decoded.
    """
    if image.format == "TIFF":
        return _scan(image, pixels, most, warn)
    if image.format in _SEVERAL_FRAMES:
        return _frames(image, pixels, most, warn)
    return iter([_decode_first(image, pixels, warn)])


def _scan(image: Image.Image, pixels: int, most: int, warn: Callable[[str], None]) -> Iterator[Page]:
    several = count(image)
    full = [] if several == 1 or not _is_reduced(image) else [0]  # the first may be a thumbnail of the next
    number = spent = done = 0
    first: Exception | None = None
    for frame in [*range(len(full), several), *full]:
        if number == most or frame == most * _FRAMES_A_PAGE or spent > ALL_PIXELS or (frame in full and done):
            break
        try:
            if frame or done or full:
                image.seek(frame)
                _check_size(image)
            spent += image.width * image.height
            if frame and _is_reduced(image):
                continue
            number += 1
            page = _decode(image, pixels, warn)
        except (MediaError, *DAMAGED) as error:
            first = first or error
            warn("some pages are damaged: they were left out")
            continue
        done += 1
        yield replace(page, number=number if several > 1 else None)
    if first and not done:
        raise _damaged(image.format, first) from None
    if image.tell() + 1 < several and not full:
        warn(f"only the first {number} of {_in_words(several)} pages were read")


def _frames(image: Image.Image, pixels: int, most: int, warn: Callable[[str], None]) -> Iterator[Page]:
    """The frames that differ from each other: with their times, or numbered where they have none."""
    seen = Seen()
    page = _decode_first(image, pixels, warn)
    is_timed = image.format != "HEIF"
    spent, time, number = image.width * image.height, _duration(image), 1
    seen.is_new(page.image)
    yield replace(page, number=None if is_timed else 1, time=0.0 if is_timed else None)
    for frame in _others(image):
        if frame >= MAX_FRAMES or spent > ALL_PIXELS or (number == most and not is_timed):
            warn(f"only the first {frame:,} frames were looked at")
            return
        try:
            image.seek(frame)
            _check_size(image)
            spent += image.width * image.height
            page = _decode(image, pixels, warn)
        except EOFError:
            return
        except (MediaError, *DAMAGED):
            warn("some frames are damaged: they were left out")
            if is_timed:  # the next frames are drawn over this one
                return
            continue
        if seen.is_new(page.image):
            number += 1
            yield replace(
                page, number=None if is_timed else number, time=round(time, 3) if is_timed else None
            )
        time += _duration(image)


def _others(image: Image.Image) -> Iterator[int]:
    """The frames besides the one that is shown first; an animation's are not counted in advance."""
    first = image.tell()
    known = getattr(image, "n_frames", 1) if image.format != "GIF" else MAX_FRAMES + 1
    return (frame for frame in range(known) if frame != first)


def _duration(image: Image.Image) -> float:
    """Seconds that the frame is shown; programs that show animations take none for a tenth."""
    duration = image.info.get("duration")
    return duration / 1000 if isinstance(duration, int | float) and 0 < duration < 1e7 else 0.1


def count(image: Image.Image) -> int:
    """How many pages a TIFF file has, at most MOST_COUNTED."""
    file: BinaryIO = image.fp  # type: ignore[attr-defined]
    at = file.tell()
    found = page_count(file)
    file.seek(at)
    return max(1, found)


def _in_words(count: int) -> str:
    return f"{count:,}" if count < MOST_COUNTED else f"{MOST_COUNTED:,} or more"


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


def _decode_first(image: Image.Image, pixels: int, warn: Callable[[str], None]) -> Page:
    """The page without which an image is of no use. Raises MediaError where it cannot be decoded."""
    try:
        return _decode(image, pixels, warn)
    except DAMAGED as error:
        raise _damaged(image.format, error) from None


def _decode(image: Image.Image, pixels: int, warn: Callable[[str], None]) -> Page:
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
    short = "truncated" in text or "eof" in text or "not enough" in text or isinstance(error, EOFError)
    return "it is cut short" if short else "it cannot be decoded"
