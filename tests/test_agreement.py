"""Whether two findings of one asset say the same: what honest machines differ by passes, lies do not."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.agreement import Difference, compare_data, compare_vectors
from jobs.blazepose import KEYPOINTS
from jobs.task import Finding, Vector, find_task
from mediaflow.settings import load_settings

WORDS = (
    "Sehr geehrte Damen und Herren, für die am 3. Mai erbrachten Leistungen erlauben wir uns, den Betrag "
    "von 1.284,50 Euro in Rechnung zu stellen, zahlbar innerhalb von vierzehn Tagen ohne jeden Abzug."
).split()


def agrees(task: str, theirs: Any, ours: Any) -> Difference | None:
    return find_task(task).agrees(Finding(theirs), Finding(ours))


# --- any task ----------------------------------------------------------------------------------


def test_numbers_may_differ_a_little() -> None:
    assert compare_data({"a": [1.0, 200]}, {"a": [1.01, 203]}) is None
    assert compare_data({"a": [1.0]}, {"a": [1.1]}) == Difference("it.a[0] is 1, not 1.1", gross=False)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"a": "x"}, {"a": "y"}),
        ({"a": "x"}, {"b": "x"}),
        ({"a": [1]}, {"a": [1, 1]}),
        ({"a": 1}, {"a": None}),
        ({"a": True}, {"a": 1}),
        ({"a": float("inf"), "b": "x"}, {"a": 1, "b": "y"}),
    ],
)
def test_nothing_else_may_differ(theirs: Any, ours: Any) -> None:
    difference = compare_data(theirs, ours)
    assert difference is not None
    assert difference.gross


def turned(cosine: float) -> Vector:
    return Vector("s", np.array([cosine, (1 - cosine**2) ** 0.5, 0], np.float32))


@pytest.mark.parametrize(
    ("cosine", "verdict"), [(1, None), (0.985, None), (0.95, False), (0.5, True), (-1, True), (np.nan, True)]
)
def test_vectors_are_compared_by_their_angle(cosine: float, verdict: bool | None) -> None:
    difference = compare_vectors([turned(cosine)], [turned(1)])
    assert (difference and difference.gross) == verdict


def test_a_vector_that_is_missing_or_of_another_picture_is_a_lie() -> None:
    ours = [Vector("s", np.ones(1, np.float32), time=1.0), Vector("s", np.ones(1, np.float32), time=2.0)]
    for theirs in ([], ours[:1], [ours[0], ours[0]], [*ours, ours[1]]):
        difference = compare_vectors(theirs, ours)
        assert difference is not None
        assert difference.gross


# --- text --------------------------------------------------------------------------------------


def read(words: list[str], pages: int = 1) -> dict[str, Any]:
    lines = [{"text": " ".join(words), "page": page} for page in range(1, pages + 1)]
    return {"text": "\n".join(line["text"] for line in lines), "lines": lines}


def heard(words: list[str], start: float = 0) -> dict[str, Any]:
    text = " ".join(words)
    return {"language": "de", "text": text, "segments": [{"start": start, "end": start + 9, "text": text}]}


@pytest.mark.parametrize(("task", "made"), [("ocr", read), ("transcribe", heard)])
class TestText:
    def test_a_letter_read_wrong_is_honest(self, task: str, made: Any) -> None:
        assert agrees(task, made(["sehr", *WORDS[1:-1], "Abzng"]), made(WORDS)) is None

    def test_a_word_at_the_edge_of_being_read_is_honest(self, task: str, made: Any) -> None:
        assert agrees(task, made(["Eis"]), made([])) is None

    def test_nothing_in_the_place_of_text_is_a_lie(self, task: str, made: Any) -> None:
        difference = agrees(task, made([]), made(WORDS))
        assert difference is not None
        assert difference.gross

    def test_other_text_is_a_lie(self, task: str, made: Any) -> None:
        other = "Der schnelle braune Fuchs springt über zwölf faule Hunde, bevor Quax zum Jagen kommt".split()
        difference = agrees(task, made(other), made(WORDS))
        assert difference is not None
        assert difference.gross

    def test_a_third_of_the_words_changed_differs(self, task: str, made: Any) -> None:
        changed = ["xyzzy" if at % 3 == 0 else word for at, word in enumerate(WORDS)]
        assert agrees(task, made(changed), made(WORDS)) is not None

    def test_text_in_one_place_and_not_in_the_other_of_a_finding_is_found(self, task: str, made: Any) -> None:
        hidden = copy.deepcopy(made(WORDS))
        hidden[{"ocr": "lines", "transcribe": "segments"}[task]] = []
        assert agrees(task, hidden, made(WORDS)) is not None


def test_text_of_another_page_is_found() -> None:
    swapped = read(WORDS, 2)
    swapped["lines"][0]["page"] = 2
    assert agrees("ocr", swapped, read(WORDS, 2)) is not None


def test_what_was_said_an_hour_later_is_found() -> None:
    assert agrees("transcribe", heard(WORDS, 3600), heard(WORDS)) is not None
    assert agrees("transcribe", heard(WORDS, 0.4), heard(WORDS)) is None


# --- scores and people -------------------------------------------------------------------------


def scored(score: float, verdict: str) -> dict[str, Any]:
    return {"score": score, "verdict": verdict, "worst": [{"score": score}]}


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [
        (scored(0.93, "unsafe"), None),
        (scored(0.83, "unsafe"), False),
        (scored(0.1, "safe"), True),
        (scored(0.95, "safe"), True),
        ({"score": 0.95, "verdict": "unsafe", "worst": []}, True),
    ],
)
def test_safe_in_the_place_of_unsafe_is_a_lie(theirs: dict[str, Any], verdict: bool | None) -> None:
    difference = agrees("nsfw", theirs, scored(0.95, "unsafe"))
    assert (difference and difference.gross) == verdict


def person(left: float, **place: float) -> dict[str, Any]:
    return {"score": 0.9, "keypoints": [[left + n % 3, n * 3.0, 0.9] for n in range(KEYPOINTS)]} | place


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [
        ([person(0), person(200), person(400)], None),
        ([person(402), person(3), person(200)], None),  # who is first may differ
        ([person(0), person(200)], False),
        ([person(0), person(200), person(400), person(800)], False),
        ([person(0), person(0), person(0)], True),  # one is not three
        ([person(50), person(260), person(800)], True),
        ([person(0, time=5.0), person(200, time=5.0), person(400, time=5.0)], True),
        ([], True),
    ],
)
def test_people_who_stand_elsewhere_are_a_lie(theirs: list[Any], verdict: bool | None) -> None:
    difference = agrees("pose", {"people": theirs}, {"people": [person(0), person(200), person(400)]})
    assert (difference and difference.gross) == verdict


# --- real models -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("nsfw", "images/coco/*.jpg"),
        ("embed", "images/coco/*.jpg"),
        ("pose", "images/coco/*.jpg"),
        ("ocr", "ocr/*/*.*"),
        ("transcribe", "audio/de/*.*"),
    ],
)
def test_real_models_agree_with_themselves_on_other_threads_and_not_about_other_files(
    name: str, files: str, media: Path, tmp_path: Path
) -> None:
    from mediaflow.media.originals import open_original
    from mediaflow.media.prepare import render

    renditions = []
    for number, path in enumerate(sorted(media.glob(files))[:4]):
        with open_original(os.fsencode(path), os.fsencode(path.parent)) as file:
            renditions.append(render(file, tmp_path / str(number), load_settings(), f"{number:064d}"))
    found = []
    for threads in (1, 2):
        entry = load_settings().tasks[name].model_copy(update={"threads": threads})
        tasks = load_settings().tasks | {name: entry}
        task = find_task(name)(load_settings().model_copy(update={"tasks": tasks}))
        task.load()
        found.append([task.analyse([rendition])[0] for rendition in renditions])
    assert [task.agrees(*pair) for pair in zip(*found, strict=True)] == [None] * len(renditions)
    if name not in ("nsfw", "pose"):  # most pictures are safe, and many have nobody in them
        swapped = zip(found[0][1:], found[1][:-1], strict=True)
        assert all(task.agrees(*pair) is not None for pair in swapped)
