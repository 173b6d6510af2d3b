"""Renditions of videos and sound recordings: frames with their time, sound with its silence."""

from __future__ import annotations

import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from mediaflow.errors import MediaError
from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Rendition
from mediaflow.media.sound import RATE
from mediaflow.settings import load_settings

Painter = Callable[[float], np.ndarray]


def still(time: float) -> np.ndarray:
    return scene(0)


def black(time: float) -> np.ndarray:
    return np.zeros_like(scene(0))


def render(path: Path, **renditions: Any) -> Rendition:
    settings = load_settings()
    changed = settings.model_copy(update={"renditions": settings.renditions.model_copy(update=renditions)})
    return make_rendition(str(path), path.parent / f"{path.name}.rendition", changed)


def scene(number: int) -> np.ndarray:
    """A still of its own colours and pattern, (120, 160, 3) uint8."""
    return np.random.default_rng(number).integers(0, 255, (6, 8, 3), np.uint8).repeat(20, 0).repeat(20, 1)


def film(
    path: Path,
    paint: Painter | None,
    seconds: float,
    *,
    rate: int = 10,
    gop: int = 10,
    tone: float | None = None,
    late: float = 0.0,
    turn: int = 0,
    aspect: Fraction | None = None,
) -> Path:
    """A film of what `paint` shows at each time, with a tone (Hz) that starts `late` seconds in."""
    with av.open(str(path), "w") as container:
        video = audio = None
        if paint:
            video = container.add_stream("libx264", rate=rate, options={"sc_threshold": "0", "bf": "0"})
            video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
            video.codec_context.gop_size = gop
            if aspect:
                video.codec_context.sample_aspect_ratio = aspect
            if turn:
                video.set_display_rotation(turn)
        if tone:
            audio = container.add_stream("aac", rate=44_100, layout="stereo")
        if video and paint:
            for number in range(round(seconds * rate)):
                frame = av.VideoFrame.from_ndarray(paint(number / rate), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, rate)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio and tone:
            wave_form = np.sin(2 * np.pi * tone * np.arange(round((seconds - late) * 44_100)) / 44_100)
            for at in range(0, len(wave_form), 1024):
                part = np.tile(wave_form[at : at + 1024].astype(np.float32) * 0.5, (2, 1))
                sound = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
                sound.sample_rate, sound.pts = 44_100, at + round(late * 44_100)
                container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path


def samples(rendition: Rendition) -> np.ndarray:
    with av.open(str(rendition.path(rendition.audio[0].file))) as container:
        assert (container.streams.audio[0].rate, container.streams.audio[0].layout.name) == (RATE, "mono")
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]) / 32768


def times(rendition: Rendition) -> list[float]:
    return [picture.time for picture in rendition.pictures if picture.time is not None]


@pytest.mark.parametrize("gop", [10, 1000])
def test_each_scene_has_a_frame_at_its_time(tmp_path: Path, gop: int) -> None:
    path = film(tmp_path / "a.mp4", lambda time: scene(int(time // 3)), 12, gop=gop)
    found = times(render(path))
    assert {int(time // 3) for time in found} == {0, 1, 2, 3}
    assert len(found) == 4  # and no second one of a scene that stands still


def test_a_frame_shows_what_is_seen_at_its_time(tmp_path: Path) -> None:
    rendition = render(film(tmp_path / "a.mp4", lambda time: scene(int(time)), 8, gop=30))
    for picture in rendition.pictures:
        shown = np.asarray(Image.open(rendition.path(picture.file)), int)
        assert np.abs(shown - scene(int(picture.time or 0))).mean() < 8


def test_a_moving_picture_has_a_frame_every_few_seconds(tmp_path: Path) -> None:
    def paint(time: float) -> np.ndarray:
        return np.roll(scene(1), round(time * 8), axis=1)

    found = times(render(film(tmp_path / "a.mp4", paint, 30), frame_seconds=5))
    assert max(np.diff([0.0, *found, 30.0])) <= 6.1
    assert len(found) <= 10


def test_a_long_video_has_no_more_frames_than_allowed_and_they_are_spread(tmp_path: Path) -> None:
    found = times(render(film(tmp_path / "a.mp4", lambda time: scene(int(time)), 30), max_frames=8))
    assert 4 <= len(found) <= 8
    assert found[-1] > 22


def test_a_video_that_stands_still_has_one_frame(tmp_path: Path) -> None:
    assert len(render(film(tmp_path / "a.mp4", still, 20)).pictures) == 1


def test_a_black_start_is_not_what_a_video_is_shown_by(tmp_path: Path) -> None:
    def paint(time: float) -> np.ndarray:
        return np.zeros_like(scene(0)) if time < 2 else scene(0)

    rendition = render(film(tmp_path / "a.mp4", paint, 6))
    assert np.asarray(Image.open(rendition.path(rendition.thumbnail or ""))).mean() > 60


def test_a_black_video_still_has_a_frame(tmp_path: Path) -> None:
    assert len(render(film(tmp_path / "a.mp4", black, 4)).pictures) == 1


@pytest.mark.parametrize(("turn", "size"), [(90, (120, 160)), (-90, (120, 160)), (180, (160, 120))])
def test_a_turned_video_comes_out_upright(tmp_path: Path, turn: int, size: tuple[int, int]) -> None:
    rendition = render(film(tmp_path / "a.mp4", still, 2, turn=turn))
    picture = rendition.pictures[0]
    assert (picture.width, picture.height) == size == (rendition.media["width"], rendition.media["height"])
    shown = np.asarray(Image.open(rendition.path(picture.file)), int)
    assert np.abs(shown - np.rot90(scene(0), turn // 90)).mean() < 8


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    rendition = render(film(tmp_path / "a.mp4", still, 2, aspect=Fraction(4, 3)))
    assert (rendition.pictures[0].width, rendition.pictures[0].height) == (213, 120)


def test_a_video_has_its_sound_and_says_what_it_is(tmp_path: Path) -> None:
    rendition = render(film(tmp_path / "a.mp4", still, 3, tone=440))
    assert rendition.kind == "video"
    assert rendition.media["seconds"] == pytest.approx(3, abs=0.1)
    assert {key: rendition.media[key] for key in ("format", "codec", "audio_codec", "fps")} == {
        "format": "mp4",
        "codec": "h264",
        "audio_codec": "aac",
        "fps": 10,
    }
    heard = samples(rendition)
    assert len(heard) / RATE == pytest.approx(3, abs=0.1)
    spectrum = np.abs(np.fft.rfft(heard[: 2 * RATE]))
    assert spectrum.argmax() / 2 == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("written", "taken"),
    [("2021-07-08T09:10:11.000000Z", "2021-07-08T09:10:11+00:00"), ("1970-01-01T00:00:00.000000Z", None)],
)
def test_the_time_of_a_film_is_kept_unless_the_clock_was_never_set(
    tmp_path: Path, written: str, taken: str | None
) -> None:
    plain = film(tmp_path / "plain.mp4", still, 1)
    with av.open(str(plain)) as source, av.open(str(tmp_path / "a.mp4"), "w") as container:
        container.metadata["creation_time"] = written
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    assert render(tmp_path / "a.mp4").media.get("taken") == taken


def test_sound_that_starts_late_keeps_its_time(tmp_path: Path) -> None:
    heard = samples(render(film(tmp_path / "a.mkv", still, 4, tone=440, late=1.5)))
    assert np.flatnonzero(np.abs(heard) > 0.1)[0] / RATE == pytest.approx(1.5, abs=0.1)


def test_a_video_without_sound_has_none(tmp_path: Path) -> None:
    rendition = render(film(tmp_path / "a.mp4", still, 2))
    assert rendition.audio == ()
    assert not rendition.path("sound.flac").exists()


def test_a_recording_is_mono_at_16_khz_and_has_no_pictures(tmp_path: Path) -> None:
    rendition = render(film(tmp_path / "a.m4a", None, 2, tone=440))
    assert (rendition.kind, rendition.pictures, rendition.thumbnail) == ("audio", (), None)
    assert np.abs(samples(rendition)).max() == pytest.approx(0.5, abs=0.1)


def test_a_film_cut_short_is_kept_as_far_as_it_goes(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", lambda time: scene(int(time)), 20, tone=440)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rendition = render(path)
    assert rendition.pictures
    assert rendition.media["warning"].startswith("cut short")


def test_an_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", lambda time: scene(int(time)), 20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # the index is at the end
    with pytest.raises(MediaError, match="a damaged MP4 file"):
        render(path)


def test_a_recording_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
    with pytest.raises(MediaError, match="no sound in it can be decoded"):
        render(path)


def test_a_playlist_cannot_make_us_read_another_file(tmp_path: Path) -> None:
    secret = film(tmp_path / "secret.mp4", still, 1)
    for name, text in (
        ("a.mp4", f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n"),
        ("b.mp4", f"ffconcat version 1.0\nfile '{secret}'\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(MediaError, match="not a media file"):
            render(tmp_path / name)


@pytest.mark.slow
def test_an_hour_of_sound_takes_little_memory(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        noise = np.random.default_rng(0).integers(-3000, 3000, 8000 * 60, np.int16).tobytes()
        for _ in range(60):
            file.writeframes(noise)
    code = (
        "import re, sys; from pathlib import Path; from mediaflow.media.prepare import make_rendition;"
        "from mediaflow.settings import load_settings;"
        "made = make_rendition(sys.argv[1], Path(sys.argv[2]), load_settings());"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1];"
        "print(made.media['seconds'], int(peak) // 1024)"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "out")]
    seconds, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert float(seconds) == pytest.approx(3600)
    assert int(megabytes) < 200
