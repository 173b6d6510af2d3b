"""What boxes find is checked by samples: a liar's findings are gone and done again, an honest box stays."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from mediaflow.catalog import findings, provenance, work
from mediaflow.catalog.database import connect, transaction
from mediaflow.catalog.schema import MIGRATIONS
from mediaflow.fleet import distrust, hosts, ledger
from mediaflow.fleet.settings import load_fleet
from mediaflow.models.encoders import text_space
from mediaflow.models.identity import embed_text_model, task_model
from mediaflow.ops.heal import Healer
from mediaflow.queues import connection
from mediaflow.queues.lineage import is_at_home
from mediaflow.settings import load_settings
from tests.household import Household, Item, Result, base64_of, rented
from tests.test_stages import image

OCR, TEXT, IMAGES = task_model("ocr"), embed_text_model("ocr"), task_model("embed")
TASKS = ["ocr", "embed"]
PATHS = [b"/pile/%02d.jpg" % number for number in range(20)]


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with connection.connect() as client:
        yield client


@pytest.fixture(autouse=True)
def fleet(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes may have everything of the library `default`; nothing is checked by chance."""
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    monkeypatch.setenv("MEDIAFLOW_FLEET__LIBRARIES", '{"default": ["ocr", "embed"]}')
    check_this_share(monkeypatch, 0)


def check_this_share(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setenv("MEDIAFLOW_FLEET__CHECK", str(share))
    load_fleet.cache_clear()


def asset_of(path: str | bytes) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()


def page(text: str) -> Result:
    """What `ocr` says of a page with one line."""
    lines = [{"text": text, "confidence": 0.9, "box": [[0, 0], [9, 0], [9, 9], [0, 9]]}] if text else []
    return {"data": {"text": text, "lines": lines}, "seconds": 1.0, "vectors": []}


def vector(space: str, said: str) -> Result:
    """What `embed` says: a vector that differs from that of anything else."""
    values = [byte - 127.5 for byte in hashlib.sha256(said.encode()).digest()]
    dimension = 384 if space == text_space(load_settings()) else 768
    vectors = [{"space": space, "ordinal": 0, "value": base64_of(values, dimension)}]
    return {"data": {}, "seconds": 1.0, "vectors": vectors}


ELSEWHERE, LIE = "0" * 64, "Der schnelle braune Fuchs springt über zwölf faule Hunde"


def truth(name: str, item: Item) -> Result:
    """What this machine finds, and an honest box."""
    if name == "prepare":
        return image(asset_of(item["path"]))
    if name == "ocr":
        return page(LIE if item["asset"] == ELSEWHERE else f"Seite {item['asset'][:6]}")
    if "texts" in item:
        return vector(text_space(load_settings()), "".join(item["texts"]))
    return vector(IMAGES, item["asset"])


def lies_about(task: str, *, after: int = 0) -> Callable[[str, Item], Result]:
    """A box that tells the truth so often, and then answers as if it had seen something else."""
    seen: list[Item] = []

    def answer(name: str, item: Item) -> Result:
        seen.append(item)
        lie = name == task and len(seen) > after
        return truth(name, item | {"asset": ELSEWHERE} if lie else item)

    return answer


@pytest.fixture
def household(db: sqlite3.Connection, client: Redis) -> Household:
    """One honest box, and work."""
    return household_of(db, client, good=truth)


def household_of(db: sqlite3.Connection, client: Redis, **boxes: Callable[[str, Item], Any]) -> Household:
    for number, label in enumerate(boxes):
        rented(label, host=number + 1)
    return Household(db, client, truth, boxes)


def settle(household: Household) -> None:
    """Do everything, also what healing finds, until there is nothing more."""
    household.run_all()
    for _ in range(5):
        if not Healer(missing_seconds=0).heal(household.db, household.client):
            return
        household.run_all()
    raise AssertionError("there is no end to it")


def state_of_box(label: str) -> tuple[str, str]:
    with closing(ledger.open_ledger()) as fleet:
        box = ledger.box(fleet, label)
    assert box is not None
    return box.state, box.reason or ""


def texts(db: sqlite3.Connection) -> set[str]:
    return {row[0] for row in db.execute("SELECT text FROM passages")}


def all_is_true(db: sqlite3.Connection, paths: list[bytes] = PATHS) -> None:
    """The catalog is complete and says what this machine would say."""
    assert work.completeness(db) == {"complete": True, "open": 0, "failed": 0}
    assert texts(db) == {f"Seite {asset_of(path)[:6]}" for path in paths}
    for path in paths:
        [id] = db.execute("SELECT id FROM assets WHERE hash = ?", (asset_of(path),)).fetchone()
        assert [row["space"] for row in findings.of(db, id)["embed"]["spaces"]] == sorted(
            [IMAGES, text_space(load_settings())]
        )
    stored = {row[0] for row in db.execute("SELECT value FROM vectors")}
    assert stored == {value_of(truth("embed", {"asset": asset_of(path)})) for path in paths} | {
        value_of(truth("embed", {"asset": "", "texts": [f"Seite {asset_of(path)[:6]}"]})) for path in paths
    }


def value_of(result: Result) -> bytes:
    import base64

    return base64.b64decode(result["vectors"][0]["value"])


# --- an honest box ----------------------------------------------------------------------------


def test_what_a_box_finds_is_known_to_be_its(db: sqlite3.Connection, household: Household) -> None:
    household.submit(PATHS, TASKS)
    settle(household)
    found = provenance.found_by(db, "good")
    assert {(task, model) for _, task, model in found} == {("ocr", OCR), ("embed", IMAGES), ("embed", TEXT)}
    assert db.execute("SELECT COUNT(*) FROM vectors WHERE box = 'good'").fetchone()[0] > 0
    all_is_true(db)


def test_the_first_findings_of_each_task_of_a_box_are_checked(
    db: sqlite3.Connection, household: Household
) -> None:
    household.submit(PATHS, TASKS)
    settle(household)
    for task in TASKS:
        assert provenance.checks(db, "good", task) == provenance.Checks(distrust.FIRST, distrust.FIRST)
    assert state_of_box("good") == ("working", "")


def test_what_was_checked_is_this_machines_own(db: sqlite3.Connection, household: Household) -> None:
    household.submit(PATHS[:2], ["ocr"])
    settle(household)
    assert provenance.found_by(db, "good") == []


def test_as_many_are_checked_as_the_settings_say(
    db: sqlite3.Connection, household: Household, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_this_share(monkeypatch, 1)
    household.submit(PATHS, ["ocr"])
    settle(household)
    assert provenance.checks(db, "good", "ocr") == provenance.Checks(len(PATHS), len(PATHS))


def test_a_check_is_first_in_its_queue_and_stays_here(db: sqlite3.Connection, household: Household) -> None:
    household.submit(PATHS[:3], ["ocr"])
    first = household.waiting()[0]
    household.run(first)
    [store] = [job for job in household.waiting() if job.origin == "index"]
    household.run(store)
    assert [is_at_home(job.id) for job in household.waiting()] == [True, False, False]
    settle(household)
    assert len(household.left["good"]) == 3


def test_a_check_that_fails_here_is_no_lie_and_no_failure(
    db: sqlite3.Connection, household: Household
) -> None:
    household.submit(PATHS[:1], ["ocr"])
    household.here = lambda *_: {"reason": "too large for this machine", "permanent": True}
    settle(household)
    assert work.completeness(db) == {"complete": True, "open": 0, "failed": 0}
    assert provenance.checks(db, "good", "ocr") == provenance.Checks(chosen=1, failed=1)
    assert len(provenance.found_by(db, "good")) == 1
    assert state_of_box("good") == ("working", "")


def test_a_machine_that_cannot_check_a_task_does_not_try_for_ever(
    db: sqlite3.Connection, household: Household
) -> None:
    household.submit(PATHS, ["ocr"])
    household.here = lambda *_: {"reason": "no such model", "permanent": False, "blameless": True}
    settle(household)
    assert provenance.checks(db, "good", "ocr").chosen == 2 * distrust.FIRST


def test_text_of_a_check_that_is_read_anew_is_embedded_anew(db: sqlite3.Connection, client: Redis) -> None:
    def nearly(name: str, item: Item) -> Result:
        return page(f"Seite {item['asset'][:6]} ") if name == "ocr" else truth(name, item)

    household = household_of(db, client, nearly=nearly)
    household.submit(PATHS[:3], TASKS)
    settle(household)
    all_is_true(db, PATHS[:3])


# --- a liar -----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_a_liars_findings_are_gone_and_done_again(db: sqlite3.Connection, client: Redis, task: str) -> None:
    household = household_of(db, client, liar=lies_about(task), good=truth)
    household.submit(PATHS, TASKS)
    while not provenance.is_distrusted(db, "liar"):
        household.run(household.waiting()[0])
    assert provenance.found_by(db, "liar") == []
    assert not db.execute("SELECT 1 FROM vectors WHERE box = 'liar'").fetchone()
    settle(household)
    all_is_true(db)
    state, reason = state_of_box("liar")
    assert state == "ending"
    assert reason.startswith(f"its findings are not true: {task}: ")
    assert state_of_box("good") == ("working", "")


def test_the_host_of_a_liar_is_blocked_and_the_event_is_written_once(
    db: sqlite3.Connection, client: Redis
) -> None:
    household = household_of(db, client, liar=lies_about("ocr"))
    household.submit(PATHS[:1], ["ocr"])
    household.run_all()
    for _ in range(2):
        db.execute("UPDATE distrusted SET told = 0")
        distrust.tell(db)
    with closing(ledger.open_ledger()) as fleet:
        assert hosts.blocked(fleet, time.time() + 86_400 * 300) == ({1}, {1}), "its owner is left alone"
        [(label, what)] = fleet.execute("SELECT label, what FROM events").fetchall()
        assert label == "liar"
        assert "not true" in what
        assert ledger.box_of_token(fleet, "liar", time.time()) is None


def test_what_was_measured_of_a_liar_is_forgotten(db: sqlite3.Connection, client: Redis) -> None:
    household = household_of(db, client, liar=lies_about("ocr"))
    with closing(ledger.open_ledger()) as fleet:
        ledger.measured(fleet, "RTX 4090", "ocr", 1000, 1, time.time(), "liar")
        ledger.measured(fleet, "RTX 4090", "ocr", 10, 1, time.time(), "good")
    household.submit(PATHS[:1], ["ocr"])
    household.run_all()
    with closing(ledger.open_ledger()) as fleet:
        assert ledger.rates(fleet)["RTX 4090", "ocr"] == pytest.approx(10)


def test_a_box_that_lies_later_is_found_by_chance(
    db: sqlite3.Connection, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_this_share(monkeypatch, 0.5)
    household = household_of(db, client, liar=lies_about("ocr", after=5))
    household.submit(PATHS, ["ocr"])
    household.run_all()  # the chance that none of 15 lies is looked at is one in 32,768
    assert provenance.is_distrusted(db, "liar")
    settle(household)
    assert texts(db) == {f"Seite {asset_of(path)[:6]}" for path in PATHS}


def test_text_made_of_a_lie_is_gone_also_where_another_embedded_it(
    db: sqlite3.Connection, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distrust, "FIRST", 0)
    household = household_of(db, client, liar=lies_about("ocr"))
    household.submit(PATHS[:2], ["ocr"])
    settle(household)
    household.boxes = {"good": truth}
    household.submit([path + b"-copy" for path in PATHS[:2]], ["embed"])
    settle(household)
    assert texts(db) == {LIE}
    with transaction(db):
        provenance.undo(db, "liar", "it lied")
    assert texts(db) == set()
    assert not db.execute("SELECT 1 FROM vectors WHERE source = 'ocr'").fetchone()
    assert not db.execute("SELECT 1 FROM work WHERE model = ?", (TEXT,)).fetchone()
    assert not db.execute("SELECT 1 FROM passages_words WHERE passages_words MATCH 'fuchs'").fetchone()


def test_what_a_liar_said_before_it_was_found_out_is_not_stored_after(
    db: sqlite3.Connection, client: Redis
) -> None:
    household = household_of(db, client, liar=lies_about("ocr"))
    household.submit(PATHS[:6], ["ocr"])
    for job in household.waiting():
        household.run(job)  # six lies wait to be stored
    with transaction(db):
        provenance.undo(db, "liar", "it lied")
    household.run_all()
    assert texts(db) == set()
    settle(household)
    assert texts(db) == {f"Seite {asset_of(path)[:6]}" for path in PATHS[:6]}


def test_a_ledger_that_was_not_told_of_a_liar_is_told_by_healing(
    db: sqlite3.Connection, client: Redis
) -> None:
    household_of(db, client, liar=truth)
    with transaction(db):
        provenance.undo(db, "liar", f"{distrust.REASON}: it lied")
    assert state_of_box("liar")[0] == "working"
    Healer().heal(db, client)
    assert state_of_box("liar")[0] == "ending"


def test_one_difference_that_may_be_honest_makes_more_be_checked_and_kills_no_box(
    db: sqlite3.Connection, client: Redis
) -> None:
    odd = asset_of(PATHS[0])

    def borderline(name: str, item: Item) -> Result:
        return vector_near(item) if item["asset"] == odd else truth(name, item)

    household = household_of(db, client, good=borderline)
    household.submit(PATHS, ["embed"])
    settle(household)
    assert provenance.checks(db, "good", "embed") == provenance.Checks(
        2 * distrust.FIRST, 2 * distrust.FIRST - 1, 1
    )
    assert state_of_box("good") == ("working", "")


def test_many_small_differences_are_a_lie(db: sqlite3.Connection, client: Redis) -> None:
    household = household_of(db, client, liar=lambda _, item: vector_near(item))
    household.submit(PATHS, ["embed"])
    household.run_all()
    assert provenance.is_distrusted(db, "liar")


def vector_near(item: Item) -> Result:
    """A vector with cosine 0.95 to the true one."""
    import base64

    import numpy as np

    true = np.frombuffer(value_of(truth("embed", item)), dtype="<f2").astype(np.float32)
    aside = np.zeros_like(true)
    aside[-1] = 1
    near = (0.95 * true + (1 - 0.95**2) ** 0.5 * aside).astype("<f2")
    value = base64.b64encode(near.tobytes()).decode()
    return {"data": {}, "seconds": 1.0, "vectors": [{"space": IMAGES, "ordinal": 0, "value": value}]}


def test_a_finding_that_breaks_the_rules_is_done_here_and_no_file_is_blamed(
    db: sqlite3.Connection, client: Redis
) -> None:
    household = household_of(db, client, odd=lambda *_: {"data": [], "seconds": 1.0, "vectors": []})
    household.submit(PATHS[:1], ["ocr"])
    settle(household)
    assert work.completeness(db) == {"complete": True, "open": 0, "failed": 0}
    assert texts(db) == {f"Seite {asset_of(PATHS[0])[:6]}"}
    assert provenance.checks(db, "odd", "ocr").differed == 1


def test_a_finding_that_the_gateway_saw_to_break_the_rules_counts_the_same(
    db: sqlite3.Connection, client: Redis
) -> None:
    household = household_of(db, client, odd=lambda *_: {"reason": "It has no lines.", "permanent": False})
    household.submit(PATHS[:1], ["ocr"])
    settle(household)
    assert work.completeness(db) == {"complete": True, "open": 0, "failed": 0}
    assert texts(db) == {f"Seite {asset_of(PATHS[0])[:6]}"}
    assert provenance.checks(db, "odd", "ocr").differed == 1


def test_text_that_no_job_could_carry_counts_against_its_box(db: sqlite3.Connection, client: Redis) -> None:
    line = {"text": "a", "confidence": 0.9, "box": [[0, 0]] * 4}
    lines = [line | {"time": float(number)} for number in range(50_000)]
    huge = {"data": {"text": "", "lines": lines}, "seconds": 1.0, "vectors": []}
    household = household_of(db, client, odd=lambda name, item: huge if name == "ocr" else truth(name, item))
    household.submit(PATHS[:2], TASKS)
    settle(household)
    assert provenance.checks(db, "odd", "ocr").differed == 2
    all_is_true(db, PATHS[:2])


def test_what_one_box_cannot_do_another_does_and_what_two_cannot_this_machine(
    db: sqlite3.Connection, client: Redis
) -> None:
    def unable(name: str, item: Item) -> Result:
        return {"elsewhere": "out of memory"}

    household = household_of(db, client, first=unable, second=truth)
    household.submit(PATHS[:4], ["ocr"])
    household.run_all()
    assert {item["asset"] for item in household.left["second"]} == {asset_of(path) for path in PATHS[:4]}
    household = household_of(db, client, third=unable, fourth=unable)
    household.submit(PATHS[4:8], ["ocr"])
    household.run_all()
    for label in ("third", "fourth"):
        assert len(household.left[label]) == 4, "each was asked once"
    settle(household)
    assert texts(db) == {f"Seite {asset_of(path)[:6]}" for path in PATHS[:8]}


def test_a_box_that_breaks_the_rules_again_and_again_is_dropped(
    db: sqlite3.Connection, client: Redis
) -> None:
    household = household_of(db, client, odd=lambda *_: {"data": [], "seconds": 1.0, "vectors": []})
    household.submit(PATHS[:3], ["ocr"])
    household.run_all()
    assert state_of_box("odd")[0] == "ending"


# --- repeats and what is late -----------------------------------------------------------------


def test_an_answer_that_comes_again_does_not_replace_what_was_found_here(
    db: sqlite3.Connection, client: Redis
) -> None:
    household = household_of(db, client, good=truth)
    household.submit(PATHS[:1], ["ocr"])
    household.run(household.waiting()[0])
    [store] = household.waiting()
    household.run(store, twice=True)
    check = next(job for job in household.waiting() if is_at_home(job.id))
    household.run(check)
    household.run_all()
    assert provenance.found_by(db, "good") == []
    assert provenance.checks(db, "good", "ocr") == provenance.Checks(1, 1)


def test_an_answer_about_old_text_is_not_stored_as_one_about_the_new(
    db: sqlite3.Connection, client: Redis
) -> None:
    household = household_of(db, client, good=truth)
    household.submit(PATHS[:1], TASKS)
    household.run_all()
    [asset] = db.execute("SELECT id FROM assets").fetchone()
    work.forget_text(db, asset, "ocr")
    work.want(db, asset, "embed", TEXT, "new-job")
    before = {row[0] for row in db.execute("SELECT value FROM vectors")}
    from jobs import stages
    from tests.household import PlayedBench

    late = vector(text_space(load_settings()), "old text") | {
        "asset": asset_of(PATHS[0]),
        "source": "ocr",
        "box": "good",
    }
    stages.store(PlayedBench(client, "old-job--store-1", lambda _: None), 1, "embed", TEXT, [late])
    assert {row[0] for row in db.execute("SELECT value FROM vectors")} == before
    row = db.execute("SELECT state, job FROM work WHERE model = ?", (TEXT,)).fetchone()
    assert tuple(row) == ("wanted", "new-job")


# --- the catalog and the fleet's ledger -------------------------------------------------------


def test_a_catalog_of_before_says_that_all_was_found_here(home: Path) -> None:
    old = home / "old.sqlite"
    with closing(sqlite3.connect(old)) as db:
        for script in MIGRATIONS[:3]:
            db.executescript(script)
        db.execute("PRAGMA user_version = 3")
        db.execute("INSERT INTO assets VALUES (1, 'a', 'image', 1, '{}', 1, 0, NULL)")
        db.execute("INSERT INTO work (asset, task, model, state, changed) VALUES (1, 'ocr', 'm', 'done', 1)")
        db.commit()
    with closing(connect(old)) as db:
        assert provenance.box_of(db, 1, "ocr", "m") is None
        assert work.completeness(db)["complete"]
        assert provenance.checks(db, "any", "ocr") == provenance.Checks()


def test_a_check_of_a_model_that_was_changed_leaves_the_finding_as_it_is(
    db: sqlite3.Connection, household: Household
) -> None:
    household.submit(PATHS[:1], ["ocr"])
    work.finish(db, 1, "ocr", "old", "good")
    work.reopen(db, 1, "ocr", "old")
    work.drop_unfinished(db, 1, "ocr", [OCR])
    assert tuple(db.execute("SELECT state, box FROM work WHERE model = 'old'").fetchone()) == ("done", "good")


def test_how_fast_this_machine_is_is_written_down(db: sqlite3.Connection, client: Redis) -> None:
    household = Household(db, client, truth, {})
    household.submit(PATHS[:4], ["ocr"])
    household.run_all()
    with closing(ledger.open_ledger()) as fleet:
        assert ledger.rates(fleet) == {("here", "ocr"): pytest.approx(load_settings().tasks["ocr"].workers)}
