"""Recordings of several streams, made for tests: voices of tones, stills, and clips joined as with `cat`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import av
import numpy as np

from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Rendition
from mediaflow.media.sound import RATE
from mediaflow.settings import load_settings

SAMPLES = 48_000  # a second, of all sound written here
FPS = 10


def render(path: Path) -> Rendition:
    """The rendition of a file as it is now, in a folder of its own."""
    return make_rendition(str(path), Path(mkdtemp(dir=path.parent)) / "rendition", load_settings())


def voice(hertz: float, seconds: float, seed: int = 0) -> np.ndarray:
    """A tone in syllables with pauses of its own rhythm, (samples,) float32: as lively as speech."""
    random = np.random.default_rng(seed)
    rhythm = np.repeat(random.integers(0, 3, round(seconds * 5) + 1) / 2, SAMPLES // 5)
    time = np.arange(round(seconds * SAMPLES)) / SAMPLES
    tone = 0.4 * np.sin(2 * np.pi * hertz * time) * rhythm[: len(time)]
    return np.asarray(tone, np.float32)


def scene(number: int) -> np.ndarray:
    """A still of its own colours and pattern, (120, 160, 3) uint8."""
    random = np.random.default_rng(number)
    values = random.integers(0, 190, 3) + random.integers(0, 65, (6, 8, 3))
    return np.asarray(values.repeat(20, 0).repeat(20, 1), np.uint8)


def write(
    path: Path,
    *,
    sounds: Sequence[np.ndarray] = (),
    videos: Sequence[Sequence[int]] = (),
    codec: str = "aac",
    layout: str | None = None,
    video_codec: str = "libx264",
    start: float = 0.0,
    **options: Any,
) -> Path:
    """A container of audio tracks, each (channels, samples) or (samples,), and of videos.

    A video is the numbers of its scenes, one a second; one of a single scene has one frame. `start` is
    what its clock says at the beginning.
    """
    with av.open(str(path), "w", **options) as container:
        films = [container.add_stream(video_codec, rate=FPS) for _ in videos]
        for film in films:
            film.width, film.height, film.pix_fmt = 160, 120, "yuv420p"
            film.codec_context.gop_size = FPS
            film.bit_rate = 2_000_000
        voices = [np.atleast_2d(sound) for sound in sounds]
        layouts = [layout or {1: "mono", 2: "stereo"}.get(len(each), f"{len(each)}c") for each in voices]
        tracks = [container.add_stream(codec, rate=SAMPLES, layout=each) for each in layouts]
        packets = [
            packet
            for film, scenes in zip(films, videos, strict=True)
            for packet in _video_packets(film, scenes, start)
        ]
        for track, values, name in zip(tracks, voices, layouts, strict=True):
            packets += _audio_packets(track, values, name, start)
        for packet in sorted(packets, key=lambda each: float((each.dts or 0) * each.time_base)):
            container.mux(packet)
    return path


def _video_packets(stream: Any, scenes: Sequence[int], start: float) -> list[Any]:
    frames = [number for number in scenes for _ in range(FPS)] if len(scenes) > 1 else list(scenes)
    packets = []
    for at, number in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(scene(number), format="rgb24")
        frame.pts, frame.time_base = at + round(start * FPS), Fraction(1, FPS)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _audio_packets(stream: Any, values: np.ndarray, layout: str, start: float) -> list[Any]:
    packets = []
    for at in range(0, values.shape[1] - 959, 960):
        part = np.ascontiguousarray(values[:, at : at + 960].T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(part, format="flt", layout=layout)
        frame.sample_rate, frame.pts = SAMPLES, at + round(start * SAMPLES)
        frame.time_base = Fraction(1, SAMPLES)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def join(path: Path, *clips: Path) -> Path:
    """The clips one after the other, as `cat` writes them."""
    path.write_bytes(b"".join(clip.read_bytes() for clip in clips))
    return path


def heard(rendition: Rendition, track: int = 0) -> np.ndarray:
    """The samples of one of a rendition's sounds, (n,) float32."""
    with av.open(str(rendition.path(rendition.audio[track].file))) as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768


def loudness(samples: np.ndarray, hertz: float, start: float = 0.0, end: float | None = None) -> float:
    """The amplitude of a tone in samples at 16 kHz, between two times."""
    part = samples[round(start * RATE) : None if end is None else round(end * RATE)]
    time = np.arange(len(part)) / RATE
    return float(2 * abs((part * np.exp(-2j * np.pi * hertz * time)).mean())) if len(part) else 0.0


def told(rendition: Rendition) -> str:
    """Its warning, or nothing."""
    return str(rendition.media.get("warning", ""))
