"""Several languages and several tracks in one recording: each is heard as what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality.speech import word_errors
from jobs.languages import Part, between_pauses, is_foreign, runs, spoken, uncovered
from jobs.transcribe import Transcribe
from mediaflow.catalog.passages import cut
from mediaflow.media.prepare import make_rendition
from mediaflow.media.subtitles import Word, srt
from mediaflow.media.voice import RATE, Window, _decoded
from mediaflow.settings import load_settings
from tests.containers import write

EN, EN2, DE, DE2, DE3, ES = (
    "audio/en/jfk.flac",
    "audio/en/LJ001-0004.wav",
    "audio/de/thorsten_01.wav",
    "audio/de/thorsten_13.wav",
    "audio/de/thorsten_08.wav",
    "audio/es/leopard_test_es.wav",
)


@pytest.fixture(scope="module")
def task() -> Transcribe:
    load_settings.cache_clear()
    task = Transcribe(load_settings())
    task.load()
    return task


def part(start: float, end: float, **languages: float) -> Part:
    return Part(start, end, languages)


def test_utterances_are_joined_up_to_the_next_pause_and_short_ones_to_a_neighbour() -> None:
    assert between_pauses([(0, 2), (2.2, 4), (5, 8)]) == [(0, 4), (5, 8)]
    assert between_pauses([(0, 2), (3, 3.5), (4.2, 8)]) == [(0, 2), (3, 8)]
    assert between_pauses([(0, 0.4)]) == [(0, 0.4)]
    assert between_pauses([]) == []


def test_a_part_is_foreign_when_it_is_long_and_sure_enough() -> None:
    assert is_foreign(part(0, 2, de=0.9, en=0.05), "en")
    assert not is_foreign(part(0, 2, en=0.9, de=0.05), "en")
    assert not is_foreign(part(0, 1, de=0.9, en=0.05), "en"), "a name is no language"
    assert not is_foreign(part(0, 2, de=0.4, en=0.3), "en")


def test_neighbours_of_one_language_are_one_run() -> None:
    parts = [
        part(0, 2, en=0.9),
        part(3, 5, en=0.4, de=0.3),
        part(6, 9, de=0.9, en=0.01),
        part(10, 12, de=0.4, es=0.45),
    ]
    languages = spoken(parts, "en")
    assert languages == ["en", "en", "de", "de"]
    assert runs(parts, languages) == [((0, 5), "en"), ((6, 12), "de")]


def test_speech_that_no_word_covers_is_found() -> None:
    spans = [(0.0, 2.5), (3.0, 6.0), (8.0, 10.0)]
    assert uncovered(spans, [Word(8.0 + at / 4, 8.25 + at / 4, "a") for at in range(8)]) == [(0.0, 6.0)]
    assert uncovered(spans, [Word(at / 4, at / 4 + 0.25, "a") for at in range(40)]) == []
    stretched = [Word(0.0, 8.5, "a"), *(Word(8.5 + at / 4, 8.75 + at / 4, "a") for at in range(6))]
    assert uncovered(spans, stretched) == [(0.0, 6.0)], "a word does not last eight seconds"


def test_a_part_of_a_window_has_half_of_the_pauses_around_it() -> None:
    window = Window(10.0, np.zeros(8 * RATE, np.float32), ((0.4, 2.0), (2.4, 4.0), (6.0, 7.6)))
    one = window.part(2.4, 4.0)
    assert (one.start, one.seconds, *one.spans[0]) == pytest.approx((12.2, 2.2, 0.2, 1.8))
    assert window.part(0.4, 7.6).seconds == window.seconds


def test_what_is_said_on_two_tracks_is_no_one_passage_and_labelled_in_subtitles() -> None:
    segments: list[dict[str, Any]] = [
        {"start": 0.0, "end": 1.0, "text": "one", "track": 1},
        {"start": 0.5, "end": 1.5, "text": "eins", "track": 2},
        {"start": 1.0, "end": 2.0, "text": "two", "track": 1},
    ]
    assert [each.text for each in cut("transcribe", {"segments": segments})] == ["one two", "eins"]
    assert "[1] one" in srt(segments)
    assert "[2] eins" in srt(segments)
    assert "[" not in srt(segments[::2])


def test_what_two_cameras_show_is_no_one_passage() -> None:
    lines = [{"text": text, "time": 0.0, "track": track} for text, track in (("front", 1), ("rear", 2))]
    assert [each.text for each in cut("ocr", {"lines": lines})] == ["front", "rear"]


@pytest.fixture
def say(media: Path, tmp_path: Path) -> Any:
    """Speech of the media at 48 kHz, by its path."""

    def said(path: str) -> np.ndarray:
        folder = tmp_path / path.replace("/", "_")
        made = make_rendition(str(media / path), folder, load_settings())
        values = np.concatenate(list(_decoded(made.path(made.audio[0].file))))
        voiced = np.flatnonzero(np.abs(values) > 0.01)
        return np.repeat(values[voiced[0] : voiced[-1]], 3)

    return said


def transcript(media: Path, path: str) -> str:
    import json

    lines = (media / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return str(next(e["truth"]["transcript"] for e in map(json.loads, lines) if e["path"] == path))


PAUSE = np.zeros(48_000, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "most"), [((EN, DE2), "en"), ((DE, EN2, DE2), "de"), ((EN2, ES), "es"), ((DE3, ES, EN), "en")]
)
def test_the_language_may_change_after_a_pause(
    task: Transcribe, say: Any, media: Path, tmp_path: Path, order: tuple[str, ...], most: str
) -> None:
    sound = np.concatenate([each for path in order for each in (say(path), PAUSE)])
    path = write(tmp_path / "a.mka", sounds=[sound], codec="flac")
    data = task.analyse([make_rendition(str(path), tmp_path / "r", load_settings())])[0].data
    wanted = " ".join(transcript(media, each) for each in order)
    errors, length = word_errors(wanted, data["text"], "en")
    assert errors / length <= 0.35, data["text"]  # numbers and spelling of the second language
    assert data["language"] == most
    heard = set(data["text"].lower().replace(",", " ").replace(".", " ").split())
    for each in order:
        words = set(transcript(media, each).lower().strip(".").split())
        assert len(words & heard) > len(words) / 2, f"{each} is left out or translated: {data['text']}"


@pytest.mark.slow
def test_each_track_is_transcribed_in_its_language(task: Transcribe, say: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mka", sounds=[say(EN), say(DE)], codec="flac")
    data = task.analyse([make_rendition(str(path), tmp_path / "r", load_settings())])[0].data
    tracks = {n: " ".join(s["text"] for s in data["segments"] if s["track"] == n) for n in (1, 2)}
    assert "my fellow Americans" in tracks[1]
    assert "Sitzungen" in tracks[2]
    assert data["segments"] == sorted(data["segments"], key=lambda each: each["start"])
    assert data["text"] == f"{tracks[1]}\n{tracks[2]}"
