"""Key frames: the stills that stand for a video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mediaflow.media.hdr import tone_map

if TYPE_CHECKING:
    import av
    from PIL import Image

CLOSEST = 1.0  # seconds between kept frames, also where scenes are shorter
_LOOK_EVERY = 0.5  # seconds between frames that are looked at where key frames are far apart
_SMALL = (64, 36)
_SCENE = 18.0  # mean difference of values (of 255) that another scene has, as has a moving camera, …
_PALETTE = 0.3  # … but only another scene has so many pixels (of 1) in another of 8 steps of a colour
_SAME = 4.0  # difference of the most different tile, below which two frames look the same
_EVEN = 3.0  # standard deviation of values below which there is nothing to see
_MOST_AT_ONCE, _MOST_A_SECOND = 2000, 500  # packets a clock may leave room for; real ones stay below 300
_USUAL_RATE = 25  # frames a second where the file has no clock
_MOST_HELD = 64 << 20  # bytes of packets held back until the next key frame


@dataclass(frozen=True, slots=True)
class Still:
    """A kept frame: seconds from the start, and its upright sRGB picture."""

    time: float
    image: Image.Image
    scale: float


class Frames:
    """Takes the packets of one video stream and hands on the frames worth keeping, in order.

    The time stamps of packets count from the start of playing (see `Clock`). Only key frames are decoded
    where they stand no more than `every` seconds apart, and all frames that others depend on where they
    do not. A frame is kept when it shows another scene than the last kept one, or differs from it at all
    and is `every` seconds later.
    """

    def __init__(self, stream: av.VideoStream, every: float, closest: float, pixels: int) -> None:
        self.stream, self.every, self.pixels = stream, every, pixels
        stream.codec_context.skip_frame = "NONREF"  # frames that no other needs cost half the time
        self.closest = max(closest, CLOSEST)
        self.errors = 0
        self.decoded = self.rotation = 0
        self.reached = self.seconds = 0.0  # to the start of the last packet, and to its end
        self._stamped = False
        self.packets = 0
        self._held: list[av.Packet[Any]] = []
        self._held_bytes = 0
        self._through = False
        self._looked = self._kept = self._due = -1e9
        self._last: np.ndarray | None = None
        self._spare: Still | None = None

    def feed(self, packet: av.Packet[Any] | None) -> Iterator[Still]:
        """Take a packet (None: the end) and yield what is found worth keeping by now."""
        if packet is not None:
            self.packets += 1
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and packet.time_base:
                self._stamped, at = True, float(stamp * packet.time_base)
                self.seconds = max(self.seconds, at + float((packet.duration or 0) * packet.time_base))
            else:
                at = self.reached if self._stamped else self.packets / _USUAL_RATE
                self.seconds = max(self.seconds, at)
            self.reached = max(self.reached, at)
        if packet is None or packet.is_keyframe:
            key = [each for each in self._held[:1] if self._is_due(each)]
            self._held, self._held_bytes, self._through = [], 0, False
            for each in key:
                yield from self._decode(each)
            if packet is None:
                yield from self._decode(None)
                if self._spare:
                    yield self._spare
                return
        if self._through:
            yield from self._decode(packet)
            return
        self._held.append(packet)
        self._held_bytes += packet.size
        if self._is_sparse() or self._held_bytes > _MOST_HELD:
            held, self._held, self._held_bytes, self._through = self._held, [], 0, True
            for each in held:
                yield from self._decode(each)

    @property
    def crowded(self) -> bool:
        """Whether more has come than fits the time that has passed: decoding it could go on without end."""
        return self.packets > _MOST_AT_ONCE + _MOST_A_SECOND * self.reached

    def _is_due(self, key: av.Packet[Any]) -> bool:
        """False for most frames of films in which every frame is a key frame."""
        if key.pts is None or not key.time_base:
            return True
        time = float(key.pts * key.time_base)
        if 0 <= time - self._due < _LOOK_EVERY:
            return False
        self._due = time
        return True

    def _is_sparse(self) -> bool:
        first, last = self._held[0], self._held[-1]
        times = [packet.pts if packet.pts is not None else packet.dts for packet in (first, last)]
        if times[0] is None or times[1] is None or not first.time_base:
            return len(self._held) > 25 * self.every
        return float((times[1] - times[0]) * first.time_base) > self.every

    def _decode(self, packet: av.Packet[Any] | None) -> Iterator[Still]:
        import av

        try:
            frames = self.stream.codec_context.decode(packet)
        except av.FFmpegError:
            self.errors += 1
            return
        for frame in frames:
            if frame.is_corrupt and self.decoded:
                continue
            try:
                stills = list(self._look(frame))
            except (av.FFmpegError, ValueError):  # its form changed to one that cannot be shown
                self.errors += 1
                continue
            self.decoded += 1
            yield from stills

    def _look(self, frame: av.VideoFrame) -> Iterator[Still]:
        # Frames that a decoder held back to the end have lost their time base, but not their time stamp.
        stamp = frame.pts if frame.pts is not None else frame.dts
        time = self.reached
        if stamp is not None and self.stream.time_base:
            time = max(0.0, float(stamp * self.stream.time_base))
        self.rotation = frame.rotation
        if abs(time - self._looked) < _LOOK_EVERY:
            return
        self._looked = time
        small = _small(frame)
        if not self._is_worth(small, time):
            return
        still = Still(time, *picture(frame, self.stream, self.pixels))
        if small.std(axis=(0, 1)).max() < _EVEN:
            self._spare = self._spare or (still if self._last is None else None)
            return
        self._spare, self._last, self._kept = None, small, time
        yield still

    def _is_worth(self, small: np.ndarray, time: float) -> bool:
        if self._last is None:
            return True
        if time - self._kept < self.closest:
            return False
        differs = np.abs(small - self._last)
        if time - self._kept >= self.every:
            return bool(_tiles(differs).max() > _SAME)
        return bool(differs.mean() > _SCENE and _moved(_palette(small), _palette(self._last)) > _PALETTE)


def _small(frame: av.VideoFrame) -> np.ndarray:
    """The frame's values in little, float32 of shape (36, 64, 3)."""
    small = frame.reformat(*_SMALL, format="rgb24", interpolation="AREA")
    values: np.ndarray = small.to_ndarray().astype(np.float32)
    return values


def looks_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures in little, each (36, 64, 3) float32, look the same."""
    return bool(_tiles(np.abs(one - other)).max() <= _SAME * 2)  # they may be of two sizes and encoders


def _tiles(values: np.ndarray) -> np.ndarray:
    """Means of tiles of 4 × 4 pixels, shape (9, 16)."""
    return values.reshape(9, 4, 16, 4, 3).mean(axis=(1, 3, 4))


def _palette(values: np.ndarray) -> np.ndarray:
    """How the values of each colour spread over 8 steps, shape (3, 8); each row sums to 1."""
    steps = np.clip(values.reshape(-1, 3) // 32, 0, 7).astype(np.intp)
    return np.stack([np.bincount(steps[:, colour], minlength=8) for colour in range(3)]) / len(steps)


def _moved(one: np.ndarray, other: np.ndarray) -> float:
    """The part of the pixels that changed their step, 0 to 1, in the colour where most did."""
    return float(np.abs(one - other).sum(axis=1).max() / 2)


def picture(frame: av.VideoFrame, stream: av.VideoStream, pixels: int) -> tuple[Image.Image, float]:
    """A frame as an upright sRGB picture of square pixels, and its scale to the upright original."""
    from PIL import Image

    width, height = shown_size(frame.width, frame.height, stream)
    scale = min(1.0, pixels / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image: Image.Image = tone_map(frame, size)
    if frame.interlaced_frame:  # one field alone: half the lines, but no combs
        image = Image.fromarray(np.asarray(image)[::2]).resize(size, Image.Resampling.BICUBIC)
    turns = {1: Image.Transpose.ROTATE_90, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_270}
    if turn := turns.get(round(frame.rotation / 90) % 4):
        image = image.transpose(turn)
    return image, scale


def shown_size(width: int, height: int, stream: av.VideoStream) -> tuple[int, int]:
    """Width and height in square pixels, before any turn."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return (round(width * aspect), height) if 0.2 < aspect < 5 else (width, height)
