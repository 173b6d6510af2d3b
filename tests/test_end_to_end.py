"""The main job with real models on real media: a folder is handed over, and what is in it is found."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from mediaflow.catalog.database import connect
from tests.installation import answer, mediaflow

pytestmark = pytest.mark.slow

FILES = {
    "motorrad.jpg": "images/coco/000000165518.jpg",
    "desk.jpg": "images/coco/000000084284.jpg",
    "scan.png": "ocr/scans/phototest-rotated-180.png",
    "clip.mp4": "video/sample_10s_video-mp4.mp4",
    "thanks.mp4": "video/thanks_for_watching.mp4",
    "trumpet.ogg": "audio/nospeech/sorohanro_-_solo-trumpet-06.ogg",
}


@pytest.fixture(scope="module")
def worked(media: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A home in which FILES and one that is none were analysed by default, the folder, and the answer."""
    folder, home = tmp_path_factory.mktemp("pile"), tmp_path_factory.mktemp("home")
    for name, source in FILES.items():
        shutil.copyfile(media / source, folder / name)
    (folder / "broken.jpg").write_bytes(b"<html>not found</html>")
    before = os.environ.get("MEDIAFLOW_HOME")
    os.environ["MEDIAFLOW_HOME"] = str(home)
    try:
        done = mediaflow("submit", str(folder), "--wait", "--json", timeout=400)
    finally:
        os.environ.pop("MEDIAFLOW_HOME")
        if before:
            os.environ["MEDIAFLOW_HOME"] = before
    assert done.returncode == 1, done.stderr
    return home, folder, json.loads(done.stdout)


@pytest.fixture
def pile(worked: tuple[Path, Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that was analysed; commands run in its home."""
    monkeypatch.setenv("MEDIAFLOW_HOME", str(worked[0]))
    return worked[1]


def names(*arguments: str) -> list[str]:
    return [Path(result["path"]).name for result in answer("search", *arguments)]


def test_submit_answers_what_became_of_it(worked: tuple[Path, Path, dict[str, Any]]) -> None:
    seconds = worked[2].pop("seconds", 0.0)
    assert seconds > 0
    worked[2]["seconds"] = seconds
    assert {key: value for key, value in worked[2].items() if key != "seconds"} == {
        "run": 1, "files": 7, "new": 7, "known": 0, "done": 6, "failed": 1,
    }  # fmt: skip


def test_the_second_submit_has_nothing_to_do_and_starts_nothing(pile: Path) -> None:
    again = answer("submit", str(pile), "--wait")
    assert (again["files"], again["new"], again["known"], again["failed"]) == (7, 0, 7, 0)
    assert again["seconds"] < 2


def test_a_question_finds_what_a_picture_shows(pile: Path) -> None:
    assert names("a man riding a motorcycle", "--in", "image")[0] == "motorrad.jpg"


def test_a_question_finds_what_is_written_on_a_scan(pile: Path) -> None:
    [best, *_] = answer("search", "quick brown dog jumped")
    assert Path(best["path"]).name == "scan.png"
    assert set(best) == {"path", "kind", "score", "asset", "matches"}
    assert {"in", "score", "text"} <= set(best["matches"][0])
    assert best["matches"][0]["in"] == "ocr"


def test_a_question_finds_the_second_at_which_it_was_said(pile: Path) -> None:
    [best, *_] = answer("search", "Shakespeare on Scenery by Oscar Wilde", "--in", "speech")
    assert Path(best["path"]).name == "clip.mp4"
    match = best["matches"][0]
    assert match["in"] == "speech"
    assert 0 <= match["start"] < match["end"] <= 11
    assert "scenery" in match["text"].lower()


def test_a_question_finds_a_name(pile: Path) -> None:
    assert names("motorrad", "--in", "name") == ["motorrad.jpg"]


def test_filters_leave_out_what_does_not_fit(pile: Path) -> None:
    assert set(names("thanks for watching", "--kind", "video")) <= {"clip.mp4", "thanks.mp4"}
    assert names("thanks for watching", "--kind", "video")[0] == "thanks.mp4"
    assert names("motorcycle", "--kind", "audio") == []
    assert names("motorcycle", "--library", "other") == []
    assert names("motorcycle", "--since", "2999") == []
    assert len(names("a picture", "--limit", "2")) <= 2
    assert "motorrad.jpg" in names("motorcycle", "--safe")


def test_an_example_finds_itself_and_its_like(pile: Path) -> None:
    assert names("--image", str(pile / "desk.jpg"))[0] == "desk.jpg"
    assert "desk.jpg" not in names("--like", str(pile / "desk.jpg"))


def test_questions_a_line_are_answered_a_line(pile: Path) -> None:
    done = mediaflow("search", "-", stdin='motorcycle\n\nquick brown dog\n\x00"AND (\n')
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [set(line) for line in answers] == [{"query", "results"}] * len(answers)
    assert [line["query"] for line in answers][:2] == ["motorcycle", "quick brown dog"]
    assert len(answers) == 3


def test_show_answers_in_the_form_of_the_contract(pile: Path) -> None:
    scan = answer("show", str(pile / "scan.png"))
    assert {"path", "asset", "kind", "media", "findings"} <= set(scan)
    assert (scan["kind"], scan["media"]["format"]) == ("image", "PNG")
    line = scan["findings"]["ocr"]["lines"][0]
    assert {"text", "confidence", "box"} <= set(line)
    assert len(line["box"]) == 4
    assert all(0 <= x <= scan["media"]["width"] and 0 <= y <= scan["media"]["height"] for x, y in line["box"])
    assert {"score", "verdict", "worst"} <= set(scan["findings"]["nsfw"])
    assert scan["findings"]["nsfw"]["verdict"] == "safe"
    assert all(
        {"space", "dimension", "vectors"} == set(space) for space in scan["findings"]["embed"]["spaces"]
    )
    clip = answer("show", str(pile / "clip.mp4"))
    assert clip["findings"]["transcribe"]["language"] == "en"
    assert {"start", "end", "text"} <= set(clip["findings"]["transcribe"]["segments"][0])
    assert all({"model", "seconds"} <= set(finding) for finding in clip["findings"].values())
    assert "transcribe" not in scan["findings"]


def test_what_says_nothing_has_no_transcript(pile: Path) -> None:
    assert answer("show", str(pile / "trumpet.ogg"))["findings"]["transcribe"]["text"] == ""


def test_export_writes_an_object_a_line_and_subtitles(pile: Path, tmp_path: Path) -> None:
    lines = mediaflow("export", "--format", "jsonl").stdout.splitlines()
    assert {Path(json.loads(line)["path"]).name for line in lines} == set(FILES)
    shown = answer("show", str(pile / "clip.mp4"))
    assert shown in [json.loads(line) for line in lines]
    srt = mediaflow("export", str(pile / "clip.mp4"), "--format", "srt").stdout
    assert re.match(r"1\n\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}\n\S", srt)
    vtt = mediaflow("export", str(pile / "clip.mp4"), "--format", "vtt").stdout
    assert re.match(r"WEBVTT\n\n(\d+\n)?\d\d:\d\d:\d\d\.\d{3} --> ", vtt)
    done = mediaflow("export", "--format", "srt", "--out", str(tmp_path / "out"))
    assert done.returncode == 0
    assert len(list((tmp_path / "out").glob("clip*.srt"))) == 1


def test_failures_say_which_file_and_why(pile: Path) -> None:
    [failure] = answer("failures")
    assert set(failure) == {"path", "stage", "reason", "attempts", "last"}
    assert (failure["path"], failure["stage"]) == (str(pile / "broken.jpg"), "prepare")
    assert "not a media file" in failure["reason"]


def test_status_proves_that_all_is_done(pile: Path) -> None:
    status = answer("status")
    assert {"redis", "queues", "workers", "runs", "complete"} <= set(status)
    assert {"url", "embedded", "reachable"} <= set(status["redis"])
    assert status["complete"]
    assert status["runs"][-1]["files"] == 7


def test_a_rebuilt_index_finds_the_same(pile: Path) -> None:
    before = answer("search", "a man riding a motorcycle")
    assert all(made["recall"] == 1.0 for made in answer("index", "rebuild"))
    assert answer("search", "a man riding a motorcycle") == before


def test_the_vectors_of_text_belong_to_the_passages_there_are(pile: Path) -> None:
    db = connect()
    for source in ("ocr", "speech"):
        vectors = db.execute(
            "SELECT DISTINCT asset, ordinal FROM vectors WHERE source = ?", (source,)
        ).fetchall()
        texts = db.execute("SELECT asset, ordinal FROM passages WHERE source = ?", (source,)).fetchall()
        assert {tuple(row) for row in vectors} == {tuple(row) for row in texts}
    db.close()


def test_nothing_is_left_running_or_written_beside_the_originals(pile: Path) -> None:
    assert {path.name for path in pile.iterdir()} == {*FILES, "broken.jpg"}
    assert answer("status")["workers"] == []
