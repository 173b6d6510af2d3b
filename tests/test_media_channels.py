"""Any number of channels mixed to one: what is said can be heard, whichever channel it is on."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from mediaflow.media.channels import liveliness
from mediaflow.media.rendition import Rendition
from tests.containers import SAMPLES, heard, loudness, render, voice, write

SPEECH = voice(500, 2, 1)
ALONE = 0.15  # amplitude at 500 Hz of SPEECH by itself, at least


def recorded(path: Path, channels: np.ndarray) -> Rendition:
    """Channels (n, samples) of 16 bits in one file, whose layout is not said."""
    if path.suffix != ".wav":
        return render(write(path, sounds=[channels], codec="pcm_s16le"))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(SAMPLES)
        file.writeframes((channels.T.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return render(path)


def noise(seed: int, volume: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, volume, len(SPEECH)).astype(np.float32)


def hum(hertz: float, volume: float) -> np.ndarray:
    return (volume * np.sin(2 * np.pi * hertz * np.arange(len(SPEECH)) / SAMPLES)).astype(np.float32)


def test_the_yardstick(tmp_path: Path) -> None:
    assert loudness(heard(recorded(tmp_path / "a.wav", SPEECH[np.newaxis])), 500) > ALONE


@pytest.mark.parametrize("count", [2, 3, 6, 16])
def test_a_voice_on_one_channel_of_many_is_as_loud_as_alone(tmp_path: Path, count: int) -> None:
    for at in {2 % count, count - 1}:
        channels = np.stack([noise(each, 1e-4) for each in range(count)])
        channels[at] += SPEECH
        name = f"{at}.wav" if count < 4 else f"{at}.mka"  # which is opened without reading all of it
        assert loudness(heard(recorded(tmp_path / name, channels)), 500) > ALONE


@pytest.mark.parametrize("layout", ["stereo", "3.0", "5.1", "7.1"])
def test_a_layout_of_loudspeakers_hides_no_channel(tmp_path: Path, layout: str) -> None:
    count = {"stereo": 2, "3.0": 3, "5.1": 6, "7.1": 8}[layout]
    for at in range(count):
        channels = np.zeros((count, len(SPEECH)), np.float32)
        channels[at] = SPEECH
        path = write(tmp_path / f"{at}.mkv", sounds=[channels], codec="pcm_s16le", layout=layout)
        assert loudness(heard(render(path)), 500) > ALONE


@pytest.mark.parametrize("other", [-1.0, -0.8, 1.0, 0.2])
def test_a_stereo_pair_does_not_cancel_out(tmp_path: Path, other: float) -> None:
    made = recorded(tmp_path / "a.mka", np.stack([SPEECH, other * SPEECH]))
    assert loudness(heard(made), 500) > ALONE * 0.6


def test_two_speakers_on_two_channels_are_both_heard(tmp_path: Path) -> None:
    guest = voice(900, 2, 2)
    guest[: len(guest) // 2] = 0
    for order in ((SPEECH, guest), (guest, SPEECH)):
        samples = heard(recorded(tmp_path / "a.mka", np.stack(order)))
        assert loudness(samples, 500) > ALONE * 0.6
        assert loudness(samples, 900, 1) > ALONE * 0.6


@pytest.mark.parametrize(
    "loud", [hum(50, 0.7), hum(60, 0.7), noise(9, 0.2)], ids=["50 Hz", "60 Hz", "a broken cable"]
)
def test_a_loud_channel_on_which_nobody_speaks_is_left_out(tmp_path: Path, loud: np.ndarray) -> None:
    samples = heard(recorded(tmp_path / "a.mka", np.stack([loud, 0.1 * SPEECH])))
    voice_power = loudness(samples, 500) ** 2 / 2
    assert voice_power > ALONE**2 / 2 * 0.1**2 * 0.8
    assert np.square(samples).mean() < 8 * voice_power, "the rest is what a voice has beside 500 Hz"


def test_a_voice_that_changes_its_channel_is_heard_all_the_time(tmp_path: Path) -> None:
    long = np.concatenate([SPEECH] * 8)
    channels = np.zeros((4, len(long)), np.float32)
    quarter = 2 * len(SPEECH)
    for at in range(4):
        channels[at, at * quarter : (at + 1) * quarter] = long[at * quarter : (at + 1) * quarter]
    samples = heard(recorded(tmp_path / "a.mka", channels))
    assert len(samples) / 16_000 == pytest.approx(16, abs=0.05)
    assert all(loudness(samples, 500, at * 4, at * 4 + 4) > ALONE * 0.6 for at in range(4))


def test_steady_sound_is_not_lively_whatever_its_volume() -> None:
    found = liveliness(np.stack([SPEECH, hum(50, 0.9), noise(1, 0.5), 0 * SPEECH]), SAMPLES)
    assert found[0] > 0
    assert found[1:].tolist() == [0, 0, 0]


def test_channels_in_planes_are_read_however_many(tmp_path: Path) -> None:
    """PyAV reads memory that is not there for eight planes or more, which ends the process."""
    for codec, layout, count in (("aac", "5.1", 6), ("aac", "7.1", 8), ("alac", "7.1(wide)", 8)):
        channels = np.zeros((count, len(SPEECH)), np.float32)
        channels[2] = SPEECH
        path = write(tmp_path / f"{codec}{count}.mkv", sounds=[channels], codec=codec, layout=layout)
        assert loudness(heard(render(path)), 500) > ALONE


@pytest.mark.parametrize("kind", ["u8", "s24le", "f64le"])
def test_samples_of_every_kind_are_mixed_at_their_volume(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.mkv", sounds=[np.stack([SPEECH, SPEECH])], codec=f"pcm_{kind}")
    assert loudness(heard(render(path)), 500) == pytest.approx(
        loudness(heard(recorded(tmp_path / "b.mka", SPEECH[np.newaxis])), 500), rel=0.05
    )
