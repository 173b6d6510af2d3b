"""Findings that break the rules: refused alone, for good, with a reason, and nothing of them is kept."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from redis import Redis

from jobs import schema, stages
from jobs.schema import check_finding
from jobs.task import find_task
from mediaflow.catalog import work
from mediaflow.errors import FindingError
from mediaflow.models.identity import embed_text_model, task_model
from mediaflow.queues import connection
from tests.test_stages import HASH, OTHER, Bench, image, located, waiting

TASKS = ["ocr", "transcribe", "nsfw", "pose", "embed"]


def encoded(values: Any) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f2").tobytes()).decode()


UNIT = np.eye(1, 768)[0]
BOX = [[0, 0], [9, 0], [9, 9], [0, 9]]
LINE = {"text": "Rechnung", "confidence": 0.9, "box": BOX}
PERSON = {"score": 0.9, "keypoints": [[1.5, -2, 0.5]] * 33}
SEGMENT = {"start": 0.0, "end": 1.5, "text": "Guten Tag"}
VECTOR = {"space": "conse-lite2-1", "ordinal": 0, "value": encoded(UNIT)}
GOOD: dict[str, dict[str, Any]] = {
    "ocr": {"text": "Rechnung", "lines": [LINE, LINE | {"page": 1}, LINE | {"time": 0.5}]},
    "transcribe": {"language": "de", "text": "Guten Tag", "segments": [SEGMENT]},
    "nsfw": {"score": 0.1, "verdict": "safe", "worst": [{"score": 0.1, "time": 2.0}]},
    "pose": {"people": [PERSON, PERSON | {"time": 1.0}]},
    "embed": {},
}


def finding(task: str, data: Any = None, **changes: Any) -> dict[str, Any]:
    vectors = [VECTOR] if task == "embed" else []
    good = {"asset": HASH, "data": GOOD[task], "seconds": 1.0, "vectors": vectors}
    return good | ({} if data is None else {"data": data}) | changes


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with connection.connect() as client:
        yield client


@pytest.mark.parametrize("task", TASKS)
def test_what_the_tasks_find_is_in_form(task: str) -> None:
    assert len(check_finding(find_task(task), task_model(task), finding(task))) == (task == "embed")


def lines(**changes: Any) -> dict[str, Any]:
    return {"text": "", "lines": [LINE | changes]}


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


DATA: dict[str, tuple[str, Any]] = {
    "a list": ("ocr", []),
    "text that is a number": ("ocr", {"text": 1, "lines": []}),
    "no lines": ("ocr", {"text": ""}),
    "a key too many": ("ocr", {"text": "", "lines": [], "html": "<script>"}),
    "a box of three corners": ("ocr", lines(box=BOX[:3])),
    "a corner of three numbers": ("ocr", lines(box=[[0, 0, 0], *BOX[1:]])),
    "a corner at infinity": ("ocr", lines(box=[[float("inf"), 0], *BOX[1:]])),
    "a corner that is no number": ("ocr", lines(box=[[float("nan"), 0], *BOX[1:]])),
    "a corner that is a text": ("ocr", lines(box=[["1", 0], *BOX[1:]])),
    "a confidence above one": ("ocr", lines(confidence=1.5)),
    "a confidence that is true": ("ocr", lines(confidence=True)),
    "a page before the first": ("ocr", lines(page=0)),
    "a time before the beginning": ("ocr", lines(time=-1.0)),
    "an endless line": ("ocr", lines(text="x" * 20_001)),
    "half a letter": ("ocr", lines(text="\ud800")),
    "a NUL": ("ocr", lines(text="a\0b")),
    "a segment that begins before the recording": ("transcribe", {"segments": [SEGMENT | {"start": -1.0}]}),
    "a segment that never ends": ("transcribe", {"segments": [SEGMENT | {"end": float("inf")}]}),
    "a score below nought": ("nsfw", {"score": -0.1}),
    "a verdict that is none": ("nsfw", {"verdict": "<b>"}),
    "a hundred worst": ("nsfw", {"worst": [{"score": 0.5}] * 100}),
    "a person of 32 keypoints": ("pose", {"people": [PERSON | {"keypoints": [[0, 0, 0]] * 32}]}),
    "a keypoint of two numbers": ("pose", {"people": [PERSON | {"keypoints": [[0, 0]] * 33}]}),
    "a keypoint that is no number": (
        "pose",
        {"people": [PERSON | {"keypoints": [[float("nan"), 0, 0]] * 33}]},
    ),
    "data of embed": ("embed", {"anything": 1}),
}


@pytest.mark.parametrize("case", DATA.values(), ids=DATA)
def test_data_out_of_form_is_refused(case: tuple[str, Any]) -> None:
    task, data = case
    if isinstance(data, dict) and task != "ocr":
        data = GOOD[task] | data
    with pytest.raises(FindingError):
        check_finding(find_task(task), task_model(task), finding(task, data))


VALUES: dict[str, Any] = {
    "of nought": np.zeros(768),
    "of length two": 2 * UNIT,
    "that is not a number": np.where(UNIT, np.nan, 0),
    "without end": np.where(UNIT, np.inf, 0),
    "of another dimension": np.eye(1, 767)[0],
}
VECTORS: dict[str, Any] = {
    **{f"a vector {name}": VECTOR | {"value": encoded(values)} for name, values in VALUES.items()},
    "a vector of odd bytes": VECTOR | {"value": base64.b64encode(b"abc").decode()},
    "a vector that is no base64": VECTOR | {"value": "????????"},
    "a vector with letters between": VECTOR | {"value": encoded(UNIT)[:8] + "!!!!" + encoded(UNIT)[8:]},
    "a vector of a megabyte": VECTOR | {"value": "A" * 1_000_000},
    "a space of texts": VECTOR | {"space": "e5-small-multilingual", "value": encoded(np.eye(1, 384)[0])},
    "a space nobody knows": VECTOR | {"space": "mine"},
    "a number before nought": VECTOR | {"ordinal": -1},
    "a number that is a text": VECTOR | {"ordinal": "0"},
    "a page that is a text": VECTOR | {"page": "1; DROP TABLE vectors"},
    "a time that is no number": VECTOR | {"time": float("nan")},
    "a key too many": VECTOR | {"asset": 1},
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_a_vector_out_of_form_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(FindingError):
        check_finding(find_task("embed"), task_model("embed"), finding("embed", vectors=[vector]))


@pytest.mark.usefixtures("colours")
def test_a_vector_of_any_space_is_bounded() -> None:
    for dimension, fits in [(1000, True), (20_000, False)]:
        vector = {"space": "colours", "ordinal": 0, "value": encoded(np.eye(1, dimension)[0])}
        found = {"asset": HASH, "data": {}, "seconds": 1.0, "vectors": [vector]}
        if fits:
            assert len(check_finding(find_task("look"), "look", found)) == 1
            continue
        with pytest.raises(FindingError, match="value"):
            check_finding(find_task("look"), "look", found)


def test_a_task_that_knows_the_size_of_its_vectors_leaves_it_to_no_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embed = find_task("embed")
    monkeypatch.setattr(embed, "may_write", lambda _model, _source: {"conse-lite2-1": 16})
    with pytest.raises(FindingError, match="768 values, not 16"):
        check_finding(embed, task_model("embed"), finding("embed"))


def test_two_vectors_of_one_number_are_refused() -> None:
    with pytest.raises(FindingError, match="two vectors of one number"):
        check_finding(find_task("embed"), task_model("embed"), finding("embed", vectors=[VECTOR] * 2))


def test_vectors_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LONGEST_VECTORS", 3000)
    vectors = [VECTOR | {"ordinal": number} for number in range(2)]
    with pytest.raises(FindingError, match="more than 3,000 characters"):
        check_finding(find_task("embed"), task_model("embed"), finding("embed", vectors=vectors))


@pytest.mark.parametrize("task", ["ocr", "nsfw", "pose"])
def test_a_task_writes_into_no_space_but_its_own(task: str) -> None:
    with pytest.raises(FindingError, match="may not write"):
        check_finding(find_task(task), task_model(task), finding(task, vectors=[VECTOR]))


def test_text_is_embedded_in_the_space_of_its_model_and_source() -> None:
    text = {"space": "e5-small-multilingual", "ordinal": 0, "value": encoded(np.eye(1, 384)[0])}
    good = finding("embed", vectors=[text], source="ocr")
    embed = find_task("embed")
    assert len(check_finding(embed, embed_text_model("ocr"), good)) == 1
    for model, changed in [
        (embed_text_model("speech"), good),
        (task_model("embed"), good),
        (embed_text_model("ocr"), good | {"source": None}),
        (embed_text_model("ocr"), good | {"vectors": [VECTOR]}),
        ("other/ocr", good | {"vectors": [text | {"space": "other"}]}),
    ]:
        with pytest.raises(FindingError, match="may not write"):
            check_finding(embed, model, changed)


GENERAL: dict[str, Any] = {
    "no number": {"x": float("nan")},
    "deep": {"x": nested(30)},
    "a NUL": {"x": "\0"},
    "a NUL in a key": {"\0": 1},
    "half a letter": {"x": "\udc80"},
    "too much": {"x": "y" * schema.LONGEST_DATA},
}


@pytest.mark.parametrize("data", GENERAL.values(), ids=GENERAL)
@pytest.mark.usefixtures("colours")
def test_the_general_limits_hold_for_a_task_without_a_schema(data: dict[str, Any]) -> None:
    good = {"asset": HASH, "data": {"colour": "grey", "more": nested(5)}, "seconds": 1.0, "vectors": []}
    assert check_finding(find_task("look"), "look", good) == []
    with pytest.raises(FindingError):
        check_finding(find_task("look"), "look", good | {"data": data})


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), "1", None])
def test_seconds_are_a_number(seconds: Any) -> None:
    with pytest.raises(FindingError, match="seconds"):
        check_finding(find_task("ocr"), task_model("ocr"), finding("ocr", seconds=seconds))


def test_a_finding_that_breaks_the_rules_fails_alone_and_for_good(
    db: sqlite3.Connection, client: Redis
) -> None:
    model = task_model("embed")
    for hash in (HASH, OTHER):
        stages.prepare(Bench(client, image(hash)), 1, [located(db, b"/a/" + hash.encode())], ["embed"])
    bad = finding("embed", vectors=[VECTOR, VECTOR | {"ordinal": 1, "value": encoded(np.zeros(768))}])
    stages.store(Bench(client), 1, "embed", model, [bad, finding("embed", asset=OTHER)])
    rows = db.execute("SELECT state, permanent, reason FROM work ORDER BY asset").fetchall()
    assert [(row["state"], row["permanent"]) for row in rows] == [("failed", 1), ("done", 0)]
    assert "unit length" in rows[0]["reason"]
    assert [row[0] for row in db.execute("SELECT asset FROM vectors")] == [2]
    assert [row[0] for row in db.execute("SELECT asset FROM findings")] == [2]


def test_what_nobody_asked_for_is_not_stored(db: sqlite3.Connection, client: Redis) -> None:
    stages.prepare(Bench(client, image()), 1, [located(db, b"/a/x.jpg")], ["ocr", "transcribe"])
    before = db.execute("SELECT task, model, state FROM work ORDER BY task").fetchall()
    for task, model in [
        ("nsfw", task_model("nsfw")),  # nobody asked for it
        ("ocr", "another model"),
        ("transcribe", task_model("transcribe")),  # it does not apply to a photo
    ]:
        stages.store(Bench(client), 1, task, model, [finding(task)])
        stages.store(Bench(client), 1, task, model, [{"asset": HASH, "reason": "x", "permanent": True}])
    assert db.execute("SELECT COUNT(*) FROM findings").fetchone()[0] == 0
    assert db.execute("SELECT task, model, state FROM work ORDER BY task").fetchall() == before


def test_work_that_failed_and_is_done_late_is_stored(db: sqlite3.Connection, client: Redis) -> None:
    stages.prepare(Bench(client, image()), 1, [located(db, b"/a/x.jpg")], ["ocr"])
    work.fail(db, 1, "ocr", task_model("ocr"), "its worker died", False)
    stages.store(Bench(client), 1, "ocr", task_model("ocr"), [finding("ocr")])
    assert db.execute("SELECT state FROM work").fetchone()[0] == "done"


PREPARED: dict[str, dict[str, Any]] = {
    "another kind": {"kind": "virus"},
    "a path as its hash": {"asset": "../../x"},
    "bytes below nought": {"bytes": -1},
    "bytes that SQLite cannot hold": {"bytes": 2**63},
    "media that is a text": {"media": "x"},
    "media that is no number": {"media": {"seconds": float("inf")}},
    "media without end": {"media": {"format": "x" * 200_000}},
    "media with half a letter": {"media": {"format": "\ud800"}},
    "pictures that are a text": {"pictures": "1"},
    "sound that is a number": {"audio": 1},
}


@pytest.mark.parametrize("change", PREPARED.values(), ids=PREPARED)
def test_what_is_said_of_an_original_is_checked_before_it_is_entered(
    db: sqlite3.Connection, client: Redis, change: dict[str, Any]
) -> None:
    ids = [located(db, b"/a/x.jpg"), located(db, b"/a/y.jpg")]
    stages.prepare(Bench(client, image() | change, image(OTHER)), 1, ids, ["ocr"])
    rows = db.execute("SELECT state, permanent FROM locations ORDER BY id").fetchall()
    assert [tuple(row) for row in rows] == [("failed", 1), ("done", 0)]
    assert [row[0] for row in db.execute("SELECT hash FROM assets")] == [OTHER]


def test_a_result_no_job_can_carry_is_a_failure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LONGEST_RESULT", 1000)
    result, _ = schema.bounded({"data": {"text": "x" * 2000}, "vectors": [], "seconds": 1.0})
    assert result["permanent"]
    assert "1,000 are allowed" in result["reason"]


def test_a_reason_is_cut_and_made_storable() -> None:
    for bounded in (lambda result: schema.bounded(result)[0], schema.bounded_prepared):
        result = bounded({"reason": "\ud800" + "x" * 100_000, "permanent": False})
        assert len(result["reason"]) == schema.LONGEST_REASON
        assert result["reason"].encode()
        assert not result["permanent"]


def test_large_findings_are_handed_over_before_they_are_too_many_for_one_job(
    db: sqlite3.Connection, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "STORE_LENGTH", 3000)
    answer = {"data": {"text": "x" * 2000, "lines": []}, "vectors": [], "seconds": 1.0}
    items = [{"asset": f"{number:064x}"} for number in range(6)]
    stages.analyse(Bench(client, *[answer] * 6), 1, "ocr", task_model("ocr"), items)
    assert [len(results) for _, _, _, results in waiting(client, "index")] == [2, 2, 2]
