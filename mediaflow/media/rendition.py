"""A rendition: what `prepare` makes of an asset, and all that the tasks ever read of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["image", "video", "audio"]
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Picture:
    """One upright RGB still: the image itself, a page of it, or a key frame of a video.

    `width` and `height` are pixels of the file; `scale` is file pixels per pixel of the upright
    original (1.0 when it was not made smaller). `page` counts from 1, `time` is in seconds. `track`
    counts the video tracks from 1 where a recording has several, as of two cameras.
    """

    file: str
    width: int
    height: int
    scale: float = 1.0
    page: int | None = None
    time: float | None = None
    track: int | None = None


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """The sound of one audio track, a mono 16 kHz FLAC file.

    `track` counts the audio tracks from 1, as players do, where a recording has several.
    """

    file: str
    track: int | None = None


@dataclass(frozen=True, slots=True)
class Rendition:
    """The files derived from one asset, in one folder, and what was learnt while making them.

    `pictures` are JPEG files, `audio` FLAC files, one for each audio track that is worth hearing,
    `thumbnail` a WebP file or None; all names are relative to `folder`. `media` holds width, height,
    seconds, format, …
    """

    asset: str
    kind: Kind
    folder: Path
    media: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    audio: tuple[AudioTrack, ...] = ()
    thumbnail: str | None = None

    def path(self, name: str) -> Path:
        """The full path of one of this rendition's files."""
        return self.folder / name

    def save(self) -> None:
        """Write the manifest last and atomically: a folder without one is not a rendition."""
        data = asdict(self)
        del data["folder"]
        partial = self.folder / (MANIFEST + ".partial")
        partial.write_text(json.dumps(data), encoding="utf-8")
        partial.replace(self.folder / MANIFEST)

    @classmethod
    def load(cls, folder: Path) -> Rendition | None:
        """The rendition in `folder`, or None where there is none (any more), or a damaged one."""
        try:
            data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            data["pictures"] = tuple(Picture(**picture) for picture in data["pictures"])
            data["audio"] = tuple(AudioTrack(**track) for track in tracks_of(data["audio"]))
            return cls(folder=folder, **data)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, LookupError):  # half on the disk when the power went
            return None


def tracks_of(audio: Any) -> list[dict[str, Any]]:
    """The audio tracks of a manifest; those of 0.1 name one file, or none."""
    if isinstance(audio, str):
        return [{"file": audio}]
    return list(audio or ())
