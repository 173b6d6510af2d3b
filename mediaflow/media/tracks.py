"""Tracks: what is kept in a rendition of the pictures and sounds of a recording's streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mediaflow.media.duplicates import duplicates, silent
from mediaflow.media.frames import Still, looks_same
from mediaflow.media.pixels import shrink
from mediaflow.media.rendition import AudioTrack, Picture
from mediaflow.media.sound import Sound
from mediaflow.media.streams import Streams

if TYPE_CHECKING:
    from PIL import Image

_COVER = 640  # pixels; a thumbnail is made of it
_NOTHING_HEARD = 0.05  # seconds of sound that are nothing
_SIGNATURE = (64, 36)  # pixels of a picture in little
_APART = 1.0  # seconds between frames of two tracks that may show the same moment


class Shots:
    """The kept frames of each video track, at most `limit` of each, spread over its time.

    `write` makes a picture of a frame and the name of its file.
    """

    def __init__(
        self, folder: Path, streams: Streams, limit: int, write: Callable[[Still, str], Picture]
    ) -> None:
        self.folder, self.write = folder, write
        self.limit = max(1, limit // max(1, len(streams.videos)))
        self.several = streams.several_videos
        self.covers: dict[int, Image.Image] = {}
        self._kept: dict[int, list[tuple[Picture, np.ndarray]]] = {n: [] for n, _ in streams.videos}

    def keep(self, number: int, still: Still) -> None:
        """Write a frame of the track of this number."""
        kept = self._kept[number]
        if not kept:
            self.covers[number] = shrink(still.image, _COVER)
        name = f"frame-{round(still.time * 1000):09d}.jpg"
        picture = self.write(still, f"track-{number}-{name}" if self.several else name)
        picture = replace(picture, track=number if self.several else None)
        kept.append((picture, np.asarray(still.image.convert("RGB").resize(_SIGNATURE), np.float32)))
        if len(kept) > self.limit:
            self._drop(kept, most_crowded([picture.time or 0.0 for picture, _ in kept]))

    def finish(self) -> tuple[Picture, ...]:
        """The pictures in order of tracks and time, without tracks that show what an earlier one does."""
        shown: list[int] = []
        for number, kept in self._kept.items():
            if any(_is_repeated(kept, self._kept[other]) for other in shown):
                while kept:
                    self._drop(kept, -1)
            elif kept:
                shown.append(number)
        return tuple(picture for number in shown for picture, _ in self._kept[number])

    def _drop(self, kept: list[tuple[Picture, np.ndarray]], at: int) -> None:
        (self.folder / kept.pop(at)[0].file).unlink(missing_ok=True)


def sound_file(number: int, streams: Streams) -> str:
    """The name of the file of an audio track's sound."""
    return f"sound-{number}.flac" if streams.several_audios else "sound.flac"


def keep_sounds(
    folder: Path, streams: Streams, sounds: Mapping[int, Sound]
) -> tuple[tuple[AudioTrack, ...], list[int]]:
    """The audio tracks worth hearing, and the numbers of those that repeat one; other files are removed.

    Silent tracks are dropped beside others. `sounds` are closed, by number.
    """
    heard = {number: sound.levels for number, sound in sounds.items() if sound.seconds > _NOTHING_HEARD}
    loud = {number: levels for number, levels in heard.items() if not silent(levels)}
    same = duplicates(loud)
    kept = [number for number in loud if number not in same] or list(heard)[:1]
    for number in sounds:
        if number not in kept:
            (folder / sound_file(number, streams)).unlink()
    several = streams.several_audios
    tracks = (AudioTrack(sound_file(number, streams), number if several else None) for number in kept)
    return tuple(tracks), sorted(same)


def most_crowded(times: list[float]) -> int:
    """The frame whose neighbours are closest in time, so that the others stay spread evenly."""
    return min(range(1, len(times) - 1), key=lambda at: times[at + 1] - times[at - 1], default=len(times) - 1)


def _is_repeated(kept: list[tuple[Picture, np.ndarray]], other: list[tuple[Picture, np.ndarray]]) -> bool:
    """Whether each frame looks like one of the other track at about the same time."""
    return bool(kept) and all(
        any(
            abs((one.time or 0.0) - (two.time or 0.0)) <= _APART and looks_same(first, second)
            for two, second in other
        )
        for one, first in kept
    )
