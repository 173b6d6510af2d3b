"""What is said in real recordings, by the real model."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality.speech import distance, score, spoken, word_errors, words
from jobs.task import find_task
from jobs.transcribe import Transcribe
from mediaflow.errors import ModelError
from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Rendition
from mediaflow.media.voice import LONGEST, windows
from mediaflow.models.identity import task_model
from mediaflow.models.store import pull
from mediaflow.settings import load_settings
from tests.conftest import missing

Render = Callable[[str], Rendition]


@pytest.fixture(scope="module")
def task() -> Transcribe:
    load_settings.cache_clear()
    task = Transcribe(load_settings())
    task.load()
    return task


@pytest.fixture
def render(media: Path, tmp_path: Path) -> Render:
    def made(path: str) -> Rendition:
        return make_rendition(str(media / path), tmp_path / path.replace("/", "_"), load_settings())

    return made


def truth(media: Path) -> dict[str, dict[str, Any]]:
    lines = (media / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["path"]: entry for entry in map(json.loads, lines)}


def recording(path: Path, values: np.ndarray, rate: int = 16_000) -> Rendition:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((values.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return make_rendition(str(path), path.parent / f"{path.name}.rendition", load_settings())


def test_the_task_is_found_by_its_name() -> None:
    assert find_task("transcribe") is Transcribe
    assert Transcribe.needs == "audio"


@pytest.mark.slow
def test_another_whisper_is_used_where_the_settings_name_it(
    render: Render, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("MEDIAFLOW_TASKS__TRANSCRIBE__MODEL", "whisper-tiny.en")
    load_settings.cache_clear()
    try:
        pull(["whisper-tiny.en"])
    except ModelError as error:
        missing(f"the English model cannot be pulled: {error}")
    task = Transcribe(load_settings())
    task.load()
    finding = task.analyse([render("audio/en/jfk.flac")])[0]
    expected = truth(media)["audio/en/jfk.flac"]["truth"]
    errors, length = word_errors(expected["transcript"], finding.data["text"], "en")
    assert errors / length <= 0.1, finding.data
    assert task_model("transcribe") == "whisper-tiny.en"


@pytest.mark.slow
def test_languages_share_a_batch_and_each_is_told(task: Transcribe, render: Render, media: Path) -> None:
    paths = ["audio/de/thorsten_05.wav", "audio/en/jfk.flac", "audio/es/leopard_test_es.wav"]
    findings = task.analyse([render(path) for path in paths])
    entries = truth(media)
    for path, finding in zip(paths, findings, strict=True):
        expected = entries[path]["truth"]
        assert finding.data["language"] == expected["lang"]
        errors, length = word_errors(expected["transcript"], finding.data["text"], expected["lang"])
        assert errors / length <= 0.1, finding.data


@pytest.mark.slow
def test_segments_are_in_order_inside_the_recording_and_make_up_the_text(
    task: Transcribe, render: Render
) -> None:
    rendition = render("audio/en/librivox_sonnet_p002.mp3")
    data = task.analyse([rendition])[0].data
    times = [(segment["start"], segment["end"]) for segment in data["segments"]]
    assert len(times) >= 6
    assert all(start < end for start, end in times)
    assert times == sorted(times)
    assert times[-1][1] <= rendition.media["seconds"] + 0.1
    assert max(end - start for start, end in times) <= 7.5
    assert data["text"] == " ".join(segment["text"] for segment in data["segments"])


@pytest.mark.slow
def test_a_sentence_has_the_time_at_which_it_is_said(
    task: Transcribe, render: Render, tmp_path: Path
) -> None:
    """Eight seconds of silence before a sentence put it eight seconds later."""
    from mediaflow.media.voice import _decoded

    rendition = render("audio/de/thorsten_07.wav")
    values = np.concatenate(list(_decoded(rendition.path(rendition.audio[0].file))))
    later = recording(tmp_path / "later.wav", np.concatenate([np.zeros(8 * 16_000, np.float32), values]))
    first, second = (finding.data["segments"][0] for finding in task.analyse([rendition, later]))
    assert second["start"] - first["start"] == pytest.approx(8, abs=0.3)
    assert second["end"] - first["end"] == pytest.approx(8, abs=0.3)


@pytest.mark.slow
def test_nothing_is_invented_where_nobody_speaks(task: Transcribe, media: Path, tmp_path: Path) -> None:
    quiet = [path for path, entry in truth(media).items() if entry["kind"] == "audio_nospeech"]
    assert quiet
    renditions = [
        make_rendition(str(media / path), tmp_path / Path(path).name, load_settings()) for path in quiet
    ]
    generator = np.random.default_rng(0)
    time = np.arange(16_000 * 20) / 16_000
    renditions.append(recording(tmp_path / "noise.wav", generator.normal(0, 0.1, len(time))))
    renditions.append(recording(tmp_path / "hum.wav", 0.3 * np.sin(2 * np.pi * 50 * time)))
    renditions.append(recording(tmp_path / "silence.wav", np.zeros(len(time))))
    for finding in task.analyse(renditions):
        assert finding.data == {"language": None, "text": "", "segments": []}


@pytest.mark.slow
def test_the_same_sound_says_the_same_alone_and_in_company(task: Transcribe, render: Render) -> None:
    paths = ["audio/en/digits/0_theo_0.wav", "audio/de/thorsten_12.wav", "audio/en/LJ001-0008.flac"]
    renditions = [render(path) for path in paths]
    together = [finding.data["text"] for finding in task.analyse(renditions)]
    assert together == [finding.data["text"] for finding in task.analyse(renditions)]
    alone = [task.analyse([rendition])[0].data["text"] for rendition in renditions[1:]]
    assert [words(text) for text in alone] == [words(text) for text in together[1:]]


@pytest.mark.slow
def test_a_video_without_sound_has_an_empty_transcript(task: Transcribe, render: Render) -> None:
    data = task.analyse([render("video/test_card_timecode.mp4")])[0].data
    assert data == {"language": None, "text": "", "segments": []}


@pytest.mark.slow
def test_windows_of_a_long_recording_are_short_and_cover_all_that_is_said(
    render: Render, tmp_path: Path
) -> None:
    """Eleven minutes: the seam between two stretches loses nothing and doubles nothing."""
    from mediaflow.media.voice import _decoded

    rendition = render("audio/de/thorsten_05.wav")
    sentence = np.concatenate(list(_decoded(rendition.path(rendition.audio[0].file))))
    once = sum(window.seconds for window in windows(rendition.path(rendition.audio[0].file)))
    spaced = np.concatenate([sentence, np.zeros(16_000 * 4, np.float32)])
    copies = round(660 * 16_000 / len(spaced))
    long = recording(tmp_path / "long.wav", np.tile(spaced, copies))
    found = list(windows(long.path(long.audio[0].file)))
    assert all(window.seconds <= LONGEST for window in found)
    assert all(one.start + one.seconds <= two.start + 0.01 for one, two in pairwise(found))
    assert len(found) == copies
    assert sum(window.seconds for window in found) == pytest.approx(once * copies, rel=0.1)


@pytest.mark.parametrize(
    ("one", "other", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a c", "a b c", 1),
        ("", "a b", 2),
    ],
)
def test_distance_counts_substitutions_insertions_and_deletions(one: str, other: str, errors: int) -> None:
    assert distance(one.split(), other.split()) == errors


@pytest.mark.parametrize(
    ("reference", "heard", "language"),
    [
        ("zero", "0.", "en"),
        ("forty-two line Bible of about fourteen fifty-five", "42 line bible of about 1455", "en"),
        ("the fifteenth century", "The 15th century.", "en"),
        ("zweiundvierzig Äpfel", "42 ÄPFEL!", "de"),
        ("neunzehnhundertachtzig", "neunzehnhundertachtzig", "de"),
        ("thy beauty’s field", "thy beauty's field,", "en"),
    ],
)
def test_numbers_marks_and_case_are_no_errors(reference: str, heard: str, language: str) -> None:
    assert word_errors(reference, heard, language)[0] == 0


def test_a_number_is_said_as_people_say_it() -> None:
    assert spoken("1,250", "en", years=False) == "one thousand two hundred fifty"
    assert spoken("1945", "en", years=True) == "nineteen forty five"
    assert spoken("21.", "de", years=False) == "einundzwanzig."


def test_the_score_counts_files_that_are_missing_and_what_is_invented() -> None:
    manifest: Sequence[dict[str, Any]] = [
        {"path": "a", "truth": {"transcript": "one two", "lang": "en"}},
        {"path": "b", "truth": {"transcript": "three four", "lang": "en"}},
        {"path": "c", "truth": {"transcript": ""}},
    ]
    result = score({"a": {"text": "one too"}, "c": {"text": "Thank you."}}, manifest)
    assert result["languages"]["en"] == {"wer": 0.75, "errors": 3, "words": 4, "files": 2}
    assert result["invented"] == {"c": "Thank you."}
