"""What waits and may go to boxes, as the catalog tells it: of files that nobody has opened yet, too."""

from __future__ import annotations

import sqlite3
import time

import pytest

from mediaflow.catalog import assets, locations, runs, work
from mediaflow.catalog.locations import Candidate
from mediaflow.fleet.backlog import Backlog, read_backlog
from mediaflow.fleet.items import GUESS_WEIGHT
from mediaflow.fleet.settings import FleetSettings, load_fleet
from mediaflow.fleet.simulator.arrivals import Arrival

TASKS = ["embed", "ocr", "nsfw", "transcribe"]
SUFFIXES = {"photo": "jpg", "scan": "tiff", "video": "mp4", "recording": "mp3"}


@pytest.fixture
def fleet(home: object, monkeypatch: pytest.MonkeyPatch) -> FleetSettings:
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    load_fleet.cache_clear()
    return load_fleet()


def submitted(db: sqlite3.Connection, library: str = "default", **kinds: int) -> list[int]:
    """A run of so many files by suffix, none of them prepared; the ids of their locations."""
    run = runs.begin(db, library, (b"/pile",), TASKS)
    files = [
        Candidate(b"/pile", f"{run}-{number}.{suffix}".encode(), 1, 1, None)
        for suffix, count in kinds.items()
        for number in range(count)
    ]
    return locations.enqueue(db, library, run, "job", files)


def prepared(db: sqlite3.Connection, kind: str, count: int, *tasks: str) -> None:
    """So many assets that were opened, for which these tasks had work."""
    for _ in range(count):
        asset = assets.add(db, f"{time.monotonic_ns():064x}", kind, 1, {})
        for task in TASKS:
            (work.finish if task in tasks else work.skip)(db, asset, task, "m")


def coming(backlog: Backlog) -> dict[str, int]:
    return {each.task: each.coming for each in backlog.waiting}


def test_photos_are_nothing_to_listen_to_before_they_are_opened_either(
    db: sqlite3.Connection, fleet: FleetSettings
) -> None:
    submitted(db, jpg=300, heic=20)
    assert coming(read_backlog(db, fleet)) == {"embed": 320, "ocr": 320, "nsfw": 320}


def test_a_run_of_the_simulated_month_is_counted_as_the_catalog_counts_it(
    db: sqlite3.Connection, fleet: FleetSettings
) -> None:
    arrival = Arrival(0.0, "night", {"photo": 85, "scan": 15, "video": 9, "recording": 4})
    submitted(db, **{SUFFIXES[kind]: count for kind, count in arrival.kinds.items()})
    backlog = read_backlog(db, fleet)
    assert coming(backlog) == {task: arrival.items(task) for task in TASKS}
    assert sum((backlog.files or {}).values()) == arrival.files


def test_a_file_whose_name_promises_nothing_may_be_anything(
    db: sqlite3.Connection, fleet: FleetSettings
) -> None:
    submitted(db, odd=7)
    assert coming(read_backlog(db, fleet)) == dict.fromkeys(TASKS, 7)


def test_what_came_of_earlier_files_is_believed_more_than_a_guess(
    db: sqlite3.Connection, fleet: FleetSettings
) -> None:
    prepared(db, "video", 9 * GUESS_WEIGHT, "embed", "ocr", "nsfw")  # without sound
    submitted(db, mp4=100)
    assert coming(read_backlog(db, fleet)) == {"embed": 100, "ocr": 100, "nsfw": 100, "transcribe": 10}


def test_files_of_a_library_that_stays_here_are_no_work_for_boxes(
    db: sqlite3.Connection, fleet: FleetSettings
) -> None:
    submitted(db, "private", jpg=10)
    assert read_backlog(db, fleet) == Backlog((), {})
