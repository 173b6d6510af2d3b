"""All tracks of a recording: each is read, told apart, and named where it cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mediaflow.errors import MediaError
from mediaflow.media import streams
from mediaflow.media.rendition import AudioTrack, Rendition
from tests.containers import heard, loudness, render, scene, told, voice, write

FAST = "flac"  # AAC is slow to encode
ONE, TWO, THREE = voice(440, 4, 1), voice(700, 4, 2), voice(1000, 4, 3)


def tracks(rendition: Rendition) -> list[int | None]:
    return [each.track for each in rendition.audio]


def test_each_audio_track_is_heard_and_has_its_number(tmp_path: Path) -> None:
    made = render(write(tmp_path / "a.mkv", sounds=[ONE, TWO, THREE], videos=[[1, 2, 3, 4]], codec=FAST))
    assert tracks(made) == [1, 2, 3]
    for at, hertz in enumerate((440, 700, 1000)):
        found = {each: loudness(heard(made, at), each) for each in (440, 700, 1000)}
        assert max(found, key=found.__getitem__) == hertz
    assert told(made) == ""


def test_a_lone_audio_track_has_no_number(tmp_path: Path) -> None:
    assert render(write(tmp_path / "a.mkv", sounds=[ONE])).audio == (AudioTrack("sound.flac"),)


@pytest.mark.parametrize("silence", [0.0, 1e-5])
def test_a_silent_track_does_not_hide_the_microphone(tmp_path: Path, silence: float) -> None:
    quiet = np.random.default_rng(0).normal(0, 1, len(ONE)).astype(np.float32) * silence
    made = render(write(tmp_path / "a.mkv", sounds=[quiet, ONE, quiet], videos=[[1, 2]], codec=FAST))
    assert tracks(made) == [2]
    assert loudness(heard(made), 440) > 0.1


def test_a_recording_of_silence_keeps_one_track(tmp_path: Path) -> None:
    made = render(write(tmp_path / "a.mkv", sounds=[ONE * 0, ONE * 0], codec=FAST))
    assert tracks(made) == [1]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(ONE, id="the same"),
        pytest.param(np.stack([ONE * 0.3, ONE * 0.3]), id="fainter and stereo"),
        pytest.param(np.concatenate([np.zeros(3000, np.float32), ONE])[: len(ONE)], id="later by 60 ms"),
        pytest.param(ONE + np.random.default_rng(5).normal(0, 2e-4, len(ONE)).astype(np.float32), id="noisy"),
    ],
)
def test_a_track_that_says_the_same_is_kept_once(tmp_path: Path, other: np.ndarray) -> None:
    made = render(write(tmp_path / "a.mkv", sounds=[ONE, other, TWO]))
    assert tracks(made) == [1, 3]
    assert made.media["duplicate_audio_tracks"] == [2]


def test_a_dub_over_the_same_music_is_a_track_of_its_own(tmp_path: Path) -> None:
    music = voice(300, 24, 7)
    one, other = (
        np.concatenate([music[: len(ONE) * 4], voice(hertz, 8, seed)]) for hertz, seed in ((440, 1), (700, 2))
    )
    assert tracks(render(write(tmp_path / "a.mkv", sounds=[one, other], codec=FAST))) == [1, 2]


def test_both_cameras_of_a_film_are_seen(tmp_path: Path) -> None:
    made = render(write(tmp_path / "a.mp4", videos=[[1, 1, 2, 2], [5, 5, 6, 6]]))
    assert [(each.track, round(each.time or 0)) for each in made.pictures] == [
        *((1, time) for time in (0, 2)),
        *((2, time) for time in (0, 2)),
    ]
    assert len({each.file for each in made.pictures}) == 4


def test_the_same_picture_in_two_sizes_is_kept_once(tmp_path: Path) -> None:
    made = render(write(tmp_path / "a.mkv", videos=[[1, 2, 3, 4], [1, 2, 3, 4]]))
    assert {each.track for each in made.pictures} == {1}
    assert {path.name for path in made.folder.glob("*.jpg")} == {each.file for each in made.pictures}


def test_a_still_beside_a_film_is_not_what_it_is_known_by(tmp_path: Path) -> None:
    from PIL import Image

    made = render(write(tmp_path / "a.mkv", videos=[[9], [1, 2, 3, 4]]))
    assert {each.track for each in made.pictures} == {1, 2}
    shown = np.asarray(Image.open(made.path(made.thumbnail or "")).convert("RGB").resize((160, 120)), int)
    assert np.abs(shown - scene(1)).mean() < 15 < np.abs(shown - scene(9)).mean()
    assert made.media["seconds"] == pytest.approx(4, abs=0.2)


def undecodable(path: Path, number: int) -> Path:
    """The audio track of this number, counted from 1, becomes one of a codec that nobody knows."""
    data = bytearray(path.read_bytes())
    at = -1
    for _ in range(number):
        at = data.index(b"A_AAC", at + 1)
    data[at : at + 5] = b"A_XYZ"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("number", "left"), [(1, 2), (2, 1)])
def test_a_track_that_no_decoder_knows_is_named_and_the_other_heard(
    tmp_path: Path, number: int, left: int
) -> None:
    made = render(undecodable(write(tmp_path / "a.mkv", sounds=[ONE, TWO], videos=[[1, 2]]), number))
    assert tracks(made) == [left]
    assert f"audio track {number} (" in told(made)
    assert "cannot be decoded" in told(made)


def test_sound_that_no_decoder_knows_is_named_beside_a_film(tmp_path: Path) -> None:
    made = render(undecodable(write(tmp_path / "a.mkv", sounds=[ONE], videos=[[1, 2]]), 1))
    assert made.pictures
    assert made.audio == ()
    assert told(made).startswith("audio track 1 (")


def test_a_film_that_no_decoder_knows_leaves_its_sound(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", sounds=[ONE], videos=[[1, 2]])
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"))
    made = render(path)
    assert (made.kind, len(made.audio)) == ("audio", 1)
    assert told(made).startswith("video track 1 (")


def test_where_nothing_can_be_decoded_the_reason_names_the_tracks(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"neither picture nor sound.*audio track 1 \("):
        render(undecodable(write(tmp_path / "a.mkv", sounds=[ONE]), 1))


def test_tracks_beyond_the_limits_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_AUDIO_TRACKS", 2)
    monkeypatch.setattr(streams, "MAX_VIDEO_TRACKS", 1)
    made = render(write(tmp_path / "a.mkv", sounds=[ONE, TWO, THREE], videos=[[1, 2], [3, 4]], codec=FAST))
    assert tracks(made) == [1, 2]
    assert {each.track for each in made.pictures} == {1}
    assert told(made) == (
        "only the first 1 of 2 video tracks were read; only the first 2 of 3 audio tracks were read"
    )


def test_a_rendition_of_an_older_version_is_read(tmp_path: Path) -> None:
    made = render(write(tmp_path / "a.mkv", sounds=[ONE]))
    manifest = made.folder / "manifest.json"
    data = json.loads(manifest.read_text())
    for old, tracks in (("sound.flac", (AudioTrack("sound.flac"),)), (None, ())):
        manifest.write_text(json.dumps(data | {"audio": old}))
        loaded = Rendition.load(made.folder)
        assert loaded is not None
        assert loaded.audio == tracks
