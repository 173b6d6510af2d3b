"""From an original to its rendition: the one place that opens files which nobody vouches for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mediaflow.disk import sync_files
from mediaflow.errors import MediaError
from mediaflow.media import exif, images, recordings
from mediaflow.media.content import hash_of, not_media, read_head, unreadable
from mediaflow.media.descriptions import describe
from mediaflow.media.frames import Frames, Still
from mediaflow.media.originals import open_original, state
from mediaflow.media.pages import pages as pages_of
from mediaflow.media.pixels import shrink
from mediaflow.media.rendition import Kind, Picture, Rendition
from mediaflow.media.seen import is_blank
from mediaflow.media.sound import Sound
from mediaflow.media.storage import Output, writing
from mediaflow.media.tracks import Shots, keep_sounds, most_crowded, sound_file
from mediaflow.settings import RenditionSettings, Settings

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL = 320  # pixels
_QUALITY = 95
_ALL_KEPT = 8  # frames of an animation that are kept however quickly they go by
_MIN_SHOWN = 0.3  # seconds; what is shown for less is motion, not text to be read
_THREADS = 2
_SHARE = 0.5  # of the seconds a file may take, after which a recording is cut: better than given up


def make_rendition(path: str, folder: Path, settings: Settings) -> Rendition:
    """Make the rendition of a file that was named itself: links to it are followed. See `render`."""
    with open_original(os.fsencode(os.path.abspath(path))) as file:
        return render(file, folder, settings, hash_of(file))


def render(file: BinaryIO, folder: Path, settings: Settings, asset: str) -> Rendition:
    """Make the rendition of an open original in `folder`, which appears when it is complete.

    What a file is, is told by its content. `asset` is its hash, taken of the same open file. Raises
    MediaError with a reason for a person; one that is not permanent where the file cannot be read or
    changes meanwhile. Raises StorageError where the rendition cannot be written.
    """
    before = state(file)
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    with writing(folder):
        partial.mkdir(parents=True)
    try:
        try:
            with _quiet():
                rendition = _make(file, asset, partial, settings)
        except OSError as error:  # what could not be written is a StorageError
            raise unreadable(error) from None
        if state(file) != before:
            raise MediaError("the file changed while it was read", permanent=False)
        with writing(folder):
            rendition.save()
            return _publish(rendition, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on standard error from here: decoders write there a line for each damaged row of a scan."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _make(file: BinaryIO, asset: str, folder: Path, settings: Settings) -> Rendition:
    head = read_head(file)
    image = images.open_image(file)
    if image is not None:
        return _make_image(image, asset, folder, settings.renditions)
    file.seek(0)
    recording = recordings.open_recording(file, _THREADS)
    if recording is None:
        raise not_media(head)
    with recording.container:
        return _make_recording(recording, asset, folder, settings)


def _make_image(image: Image.Image, asset: str, folder: Path, settings: RenditionSettings) -> Rendition:
    pictures: list[Picture] = []
    blanks: list[Picture] = []
    media: dict[str, Any] = {}
    said: list[str] = []
    with image:
        found = pages_of(image, settings.pixels, settings.max_pages, said.append)
        for written, page in enumerate(found, 1):
            if not media:
                media = exif.describe(image, page.size)
            if len(blanks) == len(pictures):  # the thumbnail shows the first picture with anything on it
                _write_thumbnail(page.image, folder)
            name = f"page-{written:04d}.jpg"
            pictures.append(_write(page.image, name, folder, page.scale, page.number, page.time))
            if is_blank(page.image):
                blanks.append(pictures[-1])
            times = [each.time for each in pictures if each.time is not None]
            if (least := _superfluous(times, settings)) is not None:
                (folder / pictures.pop(least[0]).file).unlink(missing_ok=True)
                said.append(least[1])
    if len(blanks) < len(pictures):
        for blank in [each for each in blanks if each in pictures and each.time is not None]:
            pictures.remove(blank)
            (folder / blank.file).unlink()
    if written == 1 and image.format != "TIFF":
        pictures = [replace(pictures[0], page=None, time=None)]
    if pictures[0].page:
        media["pages"] = len(pictures)
    if warnings := dict.fromkeys([*said, *filter(None, [media.pop("warning", None)])]):
        media["warning"] = "; ".join(warnings)
    return Rendition(asset, "image", folder, media, tuple(pictures), (), "thumbnail.webp")


def _superfluous(times: list[float], settings: RenditionSettings) -> tuple[int, str] | None:
    """The frame of an animation that is dropped now that the last one came, and why; None where all stay.

    Of frames that go by too quickly to be read, one every `frame_seconds` is enough, as of a video.
    """
    if (
        len(times) > _ALL_KEPT
        and times[-1] - times[-2] < _MIN_SHOWN
        and times[-2] - times[-3] < settings.frame_seconds
    ):
        return len(times) - 2, f"of quick frames, one every {settings.frame_seconds:g} s was kept"
    if len(times) > settings.max_pages:
        return most_crowded(times), f"only {settings.max_pages} of the different frames were kept"
    return None


def _make_recording(
    recording: recordings.Recording, asset: str, folder: Path, settings: Settings
) -> Rendition:
    limits = settings.renditions
    most = limits.max_hours * 3600

    def write(still: Still, name: str) -> Picture:
        return _write(still.image, name, folder, still.scale, time=round(still.time, 3))

    shots = Shots(folder, recording.streams, limits.max_frames, write)
    closest = min(recording.expected, most) / shots.limit
    every = max(closest, limits.frame_seconds)
    frames = {
        number: Frames(stream, every, closest, limits.pixels) for number, stream in recording.streams.videos
    }
    with ExitStack() as stack:
        sounds = {}
        for number, stream in recording.streams.audios:
            output = stack.enter_context(closing(Output(folder / sound_file(number, recording.streams))))
            sounds[number] = Sound(stream, output, recording.longest)
        reading = recordings.Reading(frames, sounds)
        patience = settings.prepare.seconds * _SHARE
        end = recordings.read_recording(recording, reading, shots.keep, most, patience)
        for sound in sounds.values():
            sound.close()
    audio, same = keep_sounds(folder, recording.streams, sounds)
    pictures = shots.finish()
    if not pictures and not audio:
        raise MediaError(_nothing(recording))
    if cover := shots.covers.get(reading.moving or 0) or next(iter(shots.covers.values()), None):
        _write_thumbnail(cover, folder)
    media = describe(recording, end, reading)
    if same:
        media["duplicate_audio_tracks"] = same
    kind: Kind = "video" if recording.streams.videos else "audio"
    return Rendition(asset, kind, folder, media, pictures, audio, "thumbnail.webp" if pictures else None)


def _nothing(recording: recordings.Recording) -> str:
    what = "picture" if recording.streams.videos else "sound"
    return f"a damaged or empty {recording.format} file: no {what} in it can be decoded"


def _write(
    image: Image.Image,
    name: str,
    folder: Path,
    scale: float,
    page: int | None = None,
    time: float | None = None,
) -> Picture:
    data = images.encode(image, "JPEG", _QUALITY)
    with writing(folder):
        (folder / name).write_bytes(data)
    return Picture(name, image.width, image.height, scale, page, time)


def _write_thumbnail(image: Image.Image, folder: Path) -> None:
    data = images.encode(shrink(image, THUMBNAIL), "WEBP", 80)
    with writing(folder):
        (folder / "thumbnail.webp").write_bytes(data)


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
