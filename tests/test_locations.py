"""Locations: paths as bytes, scopes, and who may write when several look at the same files."""

from __future__ import annotations

import os
import sqlite3
import unicodedata

import pytest

from mediaflow.catalog import assets, locations
from mediaflow.catalog.locations import Candidate, Scope
from mediaflow.ops.forget import forget
from mediaflow.settings import load_settings


def enter(db: sqlite3.Connection, *paths: bytes, library: str = "default") -> list[int]:
    files = [Candidate(*os.path.split(path), 10, 1, None) for path in paths]
    return locations.enqueue(db, library, 1, "job", files)


def found(db: sqlite3.Connection, *roots: bytes, library: str = "default") -> set[bytes]:
    condition, parameters = Scope(library, roots).where()
    rows = db.execute(f"SELECT folder, name FROM locations l WHERE {condition}", parameters)
    return {os.path.join(row[0], row[1]) for row in rows}


def test_a_scope_holds_a_folder_all_below_it_and_nothing_beside_it(db: sqlite3.Connection) -> None:
    inside = {b"/a/x.jpg", b"/a/b/x.jpg", b"/a/b/c/x.jpg"}
    enter(db, *inside, b"/ab/x.jpg", b"/a.jpg", b"/a-b/x.jpg", b"/a0/x.jpg", b"/x.jpg")
    assert found(db, b"/a") == inside


def test_a_scope_can_be_one_file_several_roots_or_the_whole_disk(db: sqlite3.Connection) -> None:
    everything = {b"/a/x.jpg", b"/b/y.jpg", b"/z.jpg"}
    enter(db, *everything)
    assert found(db, b"/a/x.jpg") == {b"/a/x.jpg"}
    assert found(db, b"/a", b"/z.jpg") == {b"/a/x.jpg", b"/z.jpg"}
    assert found(db, b"/") == everything
    assert found(db) == everything


@pytest.mark.parametrize(
    "name", [b"caf\xe9.jpg", b"new\nline.jpg", b"\xff\xfe.jpg", b"%_[x].jpg", "日本.jpg".encode()]
)
def test_a_name_is_kept_byte_by_byte(db: sqlite3.Connection, name: bytes) -> None:
    enter(db, b"/wei\xdf/" + name)
    assert found(db, b"/wei\xdf") == {b"/wei\xdf/" + name}
    assert locations.of_path(db, b"/wei\xdf/" + name) is not None


MAC = "/Volumes/Übung/Café Renée.png"
FORMS = [
    unicodedata.normalize("NFC", MAC),
    unicodedata.normalize("NFD", MAC),
    unicodedata.normalize("NFC", "/Volumes/Übung/") + unicodedata.normalize("NFD", "Café Renée.png"),
    unicodedata.normalize("NFD", "/Volumes/Übung/") + unicodedata.normalize("NFC", "Café Renée.png"),
]


@pytest.mark.parametrize("stored", FORMS)
@pytest.mark.parametrize("typed", FORMS)
def test_a_path_is_known_in_every_unicode_form(db: sqlite3.Connection, stored: str, typed: str) -> None:
    enter(db, stored.encode())
    row = locations.of_path(db, typed.encode())
    assert row is not None
    assert os.path.join(row["folder"], row["name"]) == stored.encode()
    folder = os.path.dirname(typed).encode()
    assert found(db, *locations.as_known(db, Scope("default", (folder,))).roots) == {stored.encode()}
    assert forget(db, Scope("default", (typed.encode(),))).locations == 1


def test_two_paths_that_differ_in_their_unicode_form_alone_are_two(db: sqlite3.Connection) -> None:
    enter(db, *(form.encode() for form in FORMS[:2]))
    for form in FORMS[:2]:
        scope = Scope("default", (form.encode(),))
        assert locations.as_known(db, scope) == scope
        assert forget(db, scope).locations == 1


def test_libraries_do_not_see_each_other(db: sqlite3.Connection) -> None:
    enter(db, b"/a/x.jpg", library="anna")
    assert found(db, library="ben") == set()
    assert locations.of_path(db, b"/a/x.jpg", "ben") is None


def test_of_two_who_saw_the_same_state_of_a_file_only_the_first_enqueues_it(db: sqlite3.Connection) -> None:
    enter(db, b"/a/x.jpg")
    seen = locations.known_in(db, "default", b"/a")[b"x.jpg"].changed
    file = Candidate(b"/a", b"x.jpg", 20, 2, seen)
    assert len(locations.enqueue(db, "default", 2, "job-2", [file])) == 1
    assert locations.enqueue(db, "default", 3, "job-3", [file]) == []
    assert locations.known_in(db, "default", b"/a")[b"x.jpg"].job == "job-2"


def test_of_two_who_find_a_new_file_only_the_first_enqueues_it(db: sqlite3.Connection) -> None:
    assert len(enter(db, b"/a/x.jpg")) == 1
    assert enter(db, b"/a/x.jpg") == []


def test_a_failure_counts_attempts_until_the_file_changes(db: sqlite3.Connection) -> None:
    def attempts() -> int:
        return int(db.execute("SELECT attempts FROM locations").fetchone()[0])

    [id] = enter(db, b"/a/x.jpg")
    most = load_settings().retries.attempts
    for attempt in range(1, most + 1):
        locations.failed(db, id, "broken", permanent=False)
        known = locations.known_in(db, "default", b"/a")[b"x.jpg"]
        assert attempts() == attempt
        assert known.settled() == (attempt == most)
        same = Candidate(b"/a", b"x.jpg", 10, 1, known.changed)
        locations.enqueue(db, "default", 1, "again", [same])
    changed = locations.known_in(db, "default", b"/a")[b"x.jpg"].changed
    locations.enqueue(db, "default", 1, "new", [Candidate(b"/a", b"x.jpg", 11, 1, changed)])
    assert attempts() == 0


def test_a_file_with_other_bytes_is_no_longer_the_asset_it_was(db: sqlite3.Connection) -> None:
    [id] = enter(db, b"/a/x.jpg")
    locations.prepared(db, id, assets.add(db, "hash", "image", 10, {}))
    assert locations.paths(db, "job", [id]) == {id: (b"/a/x.jpg", "hash", b"/a")}
    changed = locations.known_in(db, "default", b"/a")[b"x.jpg"].changed
    locations.enqueue(db, "default", 1, "new", [Candidate(b"/a", b"x.jpg", 11, 1, changed)])
    assert locations.paths(db, "new", [id]) == {id: (b"/a/x.jpg", None, b"/a")}
    assert locations.paths(db, "job", [id]) == {}, "what it read is not what is there now"


def test_a_reason_with_a_name_that_is_no_utf_8_is_stored(db: sqlite3.Connection) -> None:
    [id] = enter(db, b"/a/x.jpg")
    locations.failed(db, id, "cannot read caf\udce9.jpg", permanent=True)
    row = locations.of_path(db, b"/a/x.jpg")
    assert row is not None
    assert row["reason"] == "cannot read caf\\udce9.jpg"


def test_what_is_gone_is_not_counted_and_can_come_back(db: sqlite3.Connection) -> None:
    enter(db, b"/a/x.jpg", b"/a/y.jpg")
    assert locations.mark_gone(db, "default", b"/a", [b"x.jpg"]) == 1
    assert locations.count(db, Scope("default", (b"/a",))) == 1
    locations.mark_back(db, "default", b"/a", [b"x.jpg"])
    assert locations.count(db, Scope("default", (b"/a",))) == 2


def test_giving_up_a_job_fails_only_what_still_waits_for_it(db: sqlite3.Connection) -> None:
    first, second = enter(db, b"/a/x.jpg", b"/a/y.jpg")
    locations.prepared(db, first, assets.add(db, "hash", "image", 10, {}))
    locations.give_up(db, "job", "the disk is full")
    states = dict(db.execute("SELECT id, state FROM locations").fetchall())
    assert states == {first: "done", second: "failed"}


def test_words_of_a_path_are_its_name_and_its_nearest_folders() -> None:
    assert locations.words_of(b"/home/me/2024/Rome", b"IMG_1.jpg") == "IMG_1.jpg Rome 2024"
