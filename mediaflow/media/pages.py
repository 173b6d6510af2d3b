"""The pages of an image file: of a photo, a scan of several pages, an animation, a collection of photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from mediaflow.errors import MediaError
from mediaflow.media.images import DAMAGED, MAX_PIXELS, Page, check_size, damaged, decode, decode_first
from mediaflow.media.seen import Seen
from mediaflow.media.tiff import MOST_COUNTED, page_count

if TYPE_CHECKING:
    from PIL import Image

ALL_PIXELS = 10 * MAX_PIXELS  # of all pages of a file together
MAX_FRAMES = 1000  # of an animation that are looked at
_SEVERAL_FRAMES = ("GIF", "PNG", "WEBP", "AVIF", "HEIF")
_FRAMES_A_PAGE = 4  # a scan may hold thumbnails and the like between its pages


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
    return iter([decode_first(image, pixels, warn)])


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
                check_size(image)
            spent += image.width * image.height
            if frame and _is_reduced(image):
                continue
            number += 1
            page = decode(image, pixels, warn)
        except (MediaError, *DAMAGED) as error:
            first = first or error
            warn("some pages are damaged: they were left out")
            continue
        done += 1
        yield replace(page, number=number if several > 1 else None)
    if first and not done:
        raise damaged(image.format, first) from None
    if image.tell() + 1 < several and not full:
        warn(f"only the first {number} of {_in_words(several)} pages were read")


def _frames(image: Image.Image, pixels: int, most: int, warn: Callable[[str], None]) -> Iterator[Page]:
    """The frames that differ from each other: with their times, or numbered where they have none."""
    seen = Seen()
    page = decode_first(image, pixels, warn)
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
            check_size(image)
            spent += image.width * image.height
            page = decode(image, pixels, warn)
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


def _is_reduced(image: Image.Image) -> bool:
    """Whether a TIFF page is but a thumbnail of another (NewSubfileType, TIFF 6.0 section 8)."""
    tags = getattr(image, "tag_v2", {})
    return bool(int(tags.get(254, 0) or 0) & 1)
