"""How long a recording is: what was read of it, unless a header says that more was there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mediaflow.media.descriptions import MAX_WARNING, joined
from tests.containers import SAMPLES, join, render, told, voice, write

# Silence, then sound: the bit rate of the beginning says nothing about the rest.
UNEVEN = np.concatenate(
    [np.zeros(8 * SAMPLES, np.float32), voice(440, 4, 1), np.zeros(8 * SAMPLES, np.float32)]
)


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [
        ("a.aac", "aac", "adts"),
        ("a.mp3", "libmp3lame", "mp3"),
        ("a.ac3", "ac3", "ac3"),
        ("a.mka", "aac", "matroska"),
        ("a.ogg", "libopus", "ogg"),
        ("a.flac", "flac", "flac"),
    ],
)
def test_a_whole_recording_is_as_long_as_what_was_read(
    tmp_path: Path, name: str, codec: str, kind: str
) -> None:
    options = {"write_xing": "0"} if kind == "mp3" else {}
    made = render(write(tmp_path / name, sounds=[UNEVEN], codec=codec, format=kind, options=options))
    assert made.media["seconds"] == pytest.approx(20, abs=0.3)
    assert told(made) == ""


def test_tags_before_an_mp3_do_not_hide_that_it_says_no_length(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mp3", sounds=[UNEVEN], codec="libmp3lame", format="mp3", options={"write_xing": "0"}
    )
    picture = b"\x89PNG" + bytes(200_000)
    size = len(picture)
    header = b"ID3\3\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(header + picture + path.read_bytes())
    made = render(path)
    assert made.media["seconds"] == pytest.approx(20, abs=0.3)
    assert told(made) == ""


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.wav", "pcm_s16le"),
        ("a.w64", "pcm_s16le"),
        ("a.caf", "pcm_s16be"),
        ("a.aiff", "pcm_s16be"),
        ("a.mka", "aac"),
        ("a.mp3", "libmp3lame"),
        ("a.flac", "flac"),
    ],
)
def test_a_recording_that_was_cut_says_so(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, sounds=[voice(440, 12, 1)], codec=codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    made = render(path)
    assert told(made).startswith("cut short: ")
    assert "of 12 s" in told(made)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.ogg", "flac"), ("a.opus", "libopus"), ("a.wma", "pcm_s16le")]
)
def test_a_recording_that_was_cut_says_so_though_it_has_no_length(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = write(tmp_path / name, sounds=[voice(440, 8, 1)], codec=codec)
    assert told(render(path)) == ""
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert told(render(cut)).startswith("cut short: ")


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.wav", "pcm_s16le"), ("a.aiff", "pcm_s16be"), ("a.m4a", "aac")],
)
def test_another_recording_in_the_same_file_is_told_where_it_cannot_be_read(
    tmp_path: Path, name: str, codec: str
) -> None:
    clips = [write(tmp_path / f"{at}{name}", sounds=[voice(440, at, 1)], codec=codec) for at in (4, 2)]
    made = render(join(tmp_path / name, *clips))
    assert made.media["seconds"] == pytest.approx(4, abs=0.1)
    assert told(made).startswith("another recording follows in the same file and is not read")


@pytest.mark.parametrize("trailer", [b"ID3" + bytes(100), b"SEFT1234567890", bytes(1000)])
@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.m4a", "aac")])
def test_what_follows_and_is_no_recording_is_nothing_to_tell(
    tmp_path: Path, name: str, codec: str, trailer: bytes
) -> None:
    path = write(tmp_path / name, sounds=[voice(440, 1, 1)], codec=codec)
    path.write_bytes(path.read_bytes() + trailer)
    assert told(render(path)) == ""


def test_a_film_in_fragments_is_one_recording(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    path = write(tmp_path / "a.mp4", sounds=[voice(440, 4, 1)], videos=[[1, 2, 3, 4]], options=options)
    made = render(path)
    assert made.media["seconds"] == pytest.approx(4, abs=0.3)
    assert told(made) == ""


def test_a_wav_from_a_pipe_does_not_know_its_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sounds=[voice(440, 4, 1)], codec="pcm_s16le")
    data = path.read_bytes()
    at = data.index(b"data") + 4
    for size in (0, 0xFFFFFFFF):
        said = size.to_bytes(4, "little")
        path = tmp_path / f"{size}.wav"
        path.write_bytes(data[:4] + said + data[8:at] + said + data[at + 4 :])
        made = render(path)
        assert made.media["seconds"] == pytest.approx(4, abs=0.1)
        assert told(made) == ""


def test_an_mp4_with_its_index_first_that_was_cut_says_so(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mp4", sounds=[voice(440, 20, 1)], videos=[[1] * 20], options={"movflags": "faststart"}
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert told(render(path)).startswith("cut short: ")


def test_a_slide_that_stays_to_the_end_is_not_cut_short(tmp_path: Path) -> None:
    """The last frame of a film may last as long as all others together."""
    made = render(write(tmp_path / "a.mkv", sounds=[voice(440, 20, 1)], videos=[[1]]))
    assert made.media["seconds"] == pytest.approx(20, abs=0.2)
    assert told(made) == ""


def test_several_warnings_are_one_text_of_bounded_length() -> None:
    assert joined([]) is None
    assert joined(["one", "two"]) == "one; two"
    long = joined([f"audio track {number} (xyz) cannot be decoded" for number in range(100)])
    assert long is not None
    assert len(long) <= MAX_WARNING
    assert long.endswith(" …")
