"""From an original to its rendition: the one place that opens files which nobody vouches for."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mediaflow.disk import sync_files
from mediaflow.errors import MediaError
from mediaflow.media import exif, images, recordings
from mediaflow.media.content import hash_file, not_media, read_head, unreadable
from mediaflow.media.frames import Frames, Still
from mediaflow.media.rendition import Picture, Rendition
from mediaflow.media.sound import Sound
from mediaflow.settings import RenditionSettings, Settings

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL = 320  # pixels
_QUALITY = 95
_THREADS = 2
_NOTHING_HEARD = 0.05  # seconds of sound that are nothing


def make_rendition(path: str, folder: Path, settings: Settings, asset: str | None = None) -> Rendition:
    """Make the rendition of the file at `path` in `folder`, which appears when it is complete.

    What a file is, is told by its content. `asset` is its hash, if known already. Raises MediaError
    with a reason for a person; one that is not permanent where the file cannot be read or changes
    meanwhile. An OSError is about writing (no space left) and says nothing about the file.
    """
    before = _status(path)
    asset = asset or hash_file(path)
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with _open(path) as file:
            rendition = _make(file, asset, partial, settings.renditions)
        after = _status(path)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise MediaError("the file changed while it was read", permanent=False)
        rendition.save()
        return _publish(rendition, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _make(file: BinaryIO, asset: str, folder: Path, settings: RenditionSettings) -> Rendition:
    head = read_head(file)
    image = images.open_image(file)
    if image is not None:
        return _make_image(image, asset, folder, settings)
    file.seek(0)
    recording = recordings.open_recording(file, _THREADS)
    if recording is None:
        raise not_media(head)
    with recording.container:
        return _make_recording(recording, asset, folder, settings)


def _make_image(image: Image.Image, asset: str, folder: Path, settings: RenditionSettings) -> Rendition:
    pictures: list[Picture] = []
    media: dict[str, Any] = {}
    size = image.size
    with image:
        for number, page, scale, warning in images.pages(image, settings.pixels, settings.max_pages):
            if not media:
                media = exif.describe(image, size)
                _write_thumbnail(page, folder)
            if warning:
                media["warning"] = warning
            pictures.append(_write(page, f"page-{len(pictures) + 1:04d}.jpg", folder, scale, page=number))
    if pictures[0].page:
        media["pages"] = len(pictures)
    return Rendition(asset, "image", folder, media, tuple(pictures), None, "thumbnail.webp")


def _make_recording(
    recording: recordings.Recording, asset: str, folder: Path, settings: RenditionSettings
) -> Rendition:
    pictures: list[Picture] = []

    def keep(still: Still) -> None:
        if not pictures:
            _write_thumbnail(still.image, folder)
        name = f"frame-{round(still.time * 1000):09d}.jpg"
        pictures.append(_write(still.image, name, folder, still.scale, time=round(still.time, 3)))
        if len(pictures) > settings.max_frames:
            _drop_the_least(pictures, folder)

    seconds = recording.seconds or 0.0
    frames = sound = None
    if recording.video:
        closest = seconds / settings.max_frames
        every = max(closest, settings.frame_seconds)
        frames = Frames(recording.video, recording.start, every, closest, settings.pixels)
    with (folder / "sound.flac").open("wb") as output:
        if recording.audio:
            longest = recording.seconds and recording.seconds + 1
            sound = Sound(recording.audio, output, recording.start, longest)
        whole = recordings.read_recording(recording, sound, frames, keep)
        if sound:
            sound.close()
    heard = sound is not None and sound.seconds > _NOTHING_HEARD
    if not heard:
        (folder / "sound.flac").unlink()
    if not pictures and not heard:
        raise MediaError(_nothing(recording))
    media = recordings.describe(recording, sound, frames.rotation if frames else 0)
    if warning := _warning(recording, whole, sound, frames):
        media["warning"] = warning
    return Rendition(
        asset,
        "video" if recording.video else "audio",
        folder,
        media,
        tuple(pictures),
        "sound.flac" if heard else None,
        "thumbnail.webp" if pictures else None,
    )


def _nothing(recording: recordings.Recording) -> str:
    what = "picture" if recording.video else "sound"
    return f"a damaged or empty {recording.format} file: no {what} in it can be decoded"


def _warning(
    recording: recordings.Recording, whole: bool, sound: Sound | None, frames: Frames | None
) -> str | None:
    """What a person should know of a recording that is not quite in order."""
    if frames and not frames.decoded:
        return "no picture could be decoded"
    reached = max(sound.seconds if sound else 0.0, frames.reached if frames else 0.0)
    claimed = recording.claimed
    if not whole or (claimed and reached < claimed * 0.9 - 2):
        return f"cut short: {reached:.0f} s could be read" + (f" of {claimed:.0f} s" if claimed else "")
    if (sound and sound.errors) or (frames and frames.errors):
        return "damaged: some parts could not be decoded"
    return None


def _drop_the_least(pictures: list[Picture], folder: Path) -> None:
    """Drop the frame whose neighbours are closest in time, so that the others stay spread evenly."""
    times = [picture.time or 0.0 for picture in pictures]
    least = min(
        range(1, len(times) - 1), key=lambda at: times[at + 1] - times[at - 1], default=len(times) - 1
    )
    (folder / pictures.pop(least).file).unlink(missing_ok=True)


def _write(
    image: Image.Image,
    name: str,
    folder: Path,
    scale: float,
    page: int | None = None,
    time: float | None = None,
) -> Picture:
    (folder / name).write_bytes(images.encode(image, "JPEG", _QUALITY))
    return Picture(name, image.width, image.height, scale, page, time)


def _write_thumbnail(image: Image.Image, folder: Path) -> None:
    (folder / "thumbnail.webp").write_bytes(images.encode(images.shrink(image, THUMBNAIL), "WEBP", 80))


def _publish(rendition: Rendition, folder: Path) -> Rendition:
    """Give the finished folder its name; where another process was first, its work is as good."""
    made = Rendition.load(folder)
    if made is None:
        # The ledger will say that it is there: after a power cut, empty files would be taken for bad ones.
        sync_files(rendition.folder)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            rendition.folder.rename(folder)
        except OSError:
            if Rendition.load(folder) is None:
                raise
        made = Rendition.load(folder)
    assert made is not None
    return made


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb", buffering=1 << 18)
    except OSError as error:
        raise unreadable(error) from None


def _status(path: str) -> os.stat_result:
    try:
        status = os.stat(path)
    except OSError as error:
        raise unreadable(error) from None
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("not a file that can be read: a folder, a pipe or a device")
    return status
