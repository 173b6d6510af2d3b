"""One clock for clips that were joined: all of each clip, at times that grow."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mediaflow.media.clock import Clock
from tests.containers import heard, join, loudness, render, scene, told, voice, write

CODECS = {"ts": ("mpegts", "aac", "libx264"), "vob": ("vob", "mp2", "mpeg2video")}


def packet(stream: int, seconds: float, length: float = 0.1, *, shown: bool = False) -> Any:
    """A packet of 90 kHz; with the time of showing only if `shown`."""
    stamp = round(seconds * 90_000)
    return SimpleNamespace(
        stream=SimpleNamespace(index=stream),
        pts=stamp,
        dts=None if shown else stamp,
        duration=round(length * 90_000),
        time_base=Fraction(1, 90_000),
    )


def placed(clock: Clock, *packets: Any) -> list[float]:
    return [round(clock.place(each) or 0.0, 3) for each in packets]


def clip(path: Path, hertz: float, scenes: list[int], **more: Any) -> Path:
    kind, sound, video = CODECS[path.suffix[1:]]
    return write(
        path,
        sounds=[voice(hertz, len(scenes), round(hertz))],
        videos=[scenes],
        codec=sound,
        video_codec=video,
        format=kind,
        **more,
    )


def seen(made: Any) -> list[int]:
    """Which of the scenes 1 … 20 the pictures show, in order."""
    from PIL import Image

    shown = [np.asarray(Image.open(made.path(each.file)), int) for each in made.pictures]
    return [
        min(range(1, 21), key=lambda number: float(np.abs(image - scene(number)).mean())) for image in shown
    ]


@pytest.mark.parametrize("kind", ["ts", "vob"])
@pytest.mark.parametrize(("first", "second"), [(4, 6), (6, 4)])
def test_both_of_two_joined_clips_are_read(tmp_path: Path, kind: str, first: int, second: int) -> None:
    one = clip(tmp_path / f"one.{kind}", 440, [1] * (first // 2) + [2] * (first // 2))
    two = clip(tmp_path / f"two.{kind}", 700, [3] * (second // 2) + [4] * (second // 2))
    made = render(join(tmp_path / f"both.{kind}", one, two))
    assert seen(made) == [1, 2, 3, 4]
    times = [each.time or 0.0 for each in made.pictures]
    expected = [0, first / 2, first, first + second / 2]
    assert times == pytest.approx(expected, abs=0.4)
    samples = heard(made)
    assert len(samples) / 16_000 == pytest.approx(first + second, abs=0.4)
    assert loudness(samples, 440, 0, first) > 0.1 > 5 * loudness(samples, 440, first + 0.3)
    assert loudness(samples, 700, first) > 0.1 > 5 * loudness(samples, 700, 0, first - 0.3)
    assert made.media["seconds"] == pytest.approx(first + second, abs=0.4)
    assert told(made) == ""


def test_three_clips_are_read_whatever_their_clocks_say(tmp_path: Path) -> None:
    clips = [
        clip(tmp_path / f"{number}.ts", hertz, [number] * 3, start=start)
        for number, hertz, start in ((1, 440, 100.0), (2, 700, 9000.0), (3, 1000, 3.0))
    ]
    made = render(join(tmp_path / "all.ts", *clips))
    assert seen(made) == [1, 2, 3]
    assert [each.time or 0.0 for each in made.pictures] == pytest.approx([0, 3, 6], abs=0.5)
    assert made.media["seconds"] == pytest.approx(9, abs=0.6)
    assert len(heard(made)) / 16_000 == pytest.approx(9, abs=0.6)


@pytest.mark.parametrize(
    ("name", "codec", "length"),
    [("a.mp3", "libmp3lame", 6), ("a.aac", "aac", 6), ("a.ogg", "libopus", 6), ("a.ac3", "ac3", 6)],
)
def test_sound_that_was_joined_is_heard_to_its_end(
    tmp_path: Path, name: str, codec: str, length: float
) -> None:
    clips = [
        write(tmp_path / f"{hertz}{name}", sounds=[voice(hertz, seconds, round(hertz))], codec=codec)
        for hertz, seconds in ((440, 4), (700, 2))
    ]
    made = render(join(tmp_path / name, *clips))
    samples = heard(made)
    assert len(samples) / 16_000 == pytest.approx(length, abs=0.3)
    assert loudness(samples, 700, 4.2) > 0.05 > 5 * loudness(samples, 700, 0, 3.8)
    assert made.media["seconds"] == pytest.approx(length, abs=0.3)
    assert told(made) == ""


def test_time_that_runs_is_left_alone() -> None:
    clock = Clock(1.4, leaps=True)
    assert placed(clock, packet(0, 1.4), packet(1, 1.5), packet(0, 1.5)) == [0, 0.1, 0.1]
    assert not clock.joined


def test_each_stream_changes_over_when_its_own_packets_do() -> None:
    """The sound of the first clip still comes when the picture of the second has begun."""
    clock = Clock(0.0, leaps=True)
    placed(clock, *(packet(stream, at / 10) for at in range(200) for stream in (0, 1)))
    assert placed(clock, packet(0, 0.0), packet(1, 20.0), packet(0, 0.1), packet(1, 0.0)) == [
        20,
        20,
        20.1,
        20,
    ]
    assert clock.joined


def test_one_wrong_stamp_moves_nothing_after_it() -> None:
    for leaps in (False, True):
        for wrong in (0.0, 50_000.0):
            clock = Clock(0.0, leaps)
            before = placed(clock, *(packet(0, at / 10) for at in range(300)))
            clock.place(packet(0, wrong))
            after = placed(clock, *(packet(0, at / 10) for at in range(301, 310)))
            assert [*before, *after] == [round(at / 10, 3) for at in range(310) if at != 300]


def test_a_counter_of_33_bits_that_wraps_goes_on() -> None:
    clock = Clock(95_440.0, leaps=True)
    wrap = 2**33 / 90_000
    times = placed(clock, *(packet(0, (95_440 + at / 10) % wrap) for at in range(100)))
    assert times == pytest.approx([at / 10 for at in range(100)], abs=0.11)


def test_a_gap_is_kept_where_a_container_has_an_index_and_closed_where_clips_are_joined() -> None:
    for leaps, expected in ((False, 60.0), (True, 0.1)):
        assert placed(Clock(0.0, leaps), packet(0, 0.0), packet(0, 60.0))[1] == expected


def test_a_stream_that_rests_while_another_goes_on_comes_back_at_its_time() -> None:
    clock = Clock(0.0, leaps=True)
    placed(clock, packet(1, 0.0), *(packet(0, at / 10) for at in range(600)))
    assert placed(clock, packet(1, 59.0)) == [59.0]


def test_frames_shown_in_another_order_are_no_new_clip() -> None:
    clock = Clock(0.0, leaps=True)
    shown = [0.0, 0.8, 0.4, 0.2, 0.6, 1.6, 1.2]
    assert placed(clock, *(packet(0, at, 0.2, shown=True) for at in shown)) == shown


def test_a_clock_that_jumps_with_every_packet_stays_bounded() -> None:
    random = np.random.default_rng(0)
    clock = Clock(0.0, leaps=True)
    stamps = random.uniform(0, 90_000, 2000)
    times = placed(clock, *(packet(0, float(stamp)) for stamp in stamps))
    assert max(times) < 2000 * (0.1 + 10)
    assert all(two >= one - 0.5 for one, two in pairwise(times))


def test_a_stamp_that_no_counter_holds_is_none() -> None:
    clock = Clock(-1e12, leaps=False)
    assert (
        clock.place(
            SimpleNamespace(
                stream=SimpleNamespace(index=0), pts=2**62, dts=2**62, duration=0, time_base=Fraction(1)
            )
        )
        is None
    )
