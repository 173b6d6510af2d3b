"""`forget --gone` looks at the disk: what was deleted is forgotten, what may be out of reach is kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mediaflow.catalog import assets, locations, runs
from mediaflow.catalog.locations import Candidate, Scope
from mediaflow.ops.forget import Forgotten, forget_gone
from tests.installation import answer, mediaflow

Known = Callable[..., None]


@pytest.fixture
def pile(tmp_path: Path) -> Path:
    """A folder with two files, and a folder in it with another."""
    for name in ("one.png", "two.png", "year/three.png"):
        path = tmp_path / "pile" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "pile"


def enter(db: sqlite3.Connection, root: Path, *paths: Path, library: str = "default") -> None:
    """Enter files in the catalog as a submit of `root` does; those of the same name are copies."""
    past = time.time() - 3600
    for folder in (root, *(path.parent for path in paths)):
        if folder.is_dir():
            os.utime(folder, (past, past))
    run = runs.begin(db, library, [os.fsencode(root)], ["look"])
    db.execute("UPDATE runs SET started = started - 60")
    for path in paths:
        file = Candidate(os.fsencode(path.parent), os.fsencode(path.name), 5, 1, None, len(os.fsencode(root)))
        [id] = locations.enqueue(db, library, run, "job", [file])
        locations.prepared(db, id, assets.add(db, path.name, "image", 5, {}))


@pytest.fixture
def known(db: sqlite3.Connection, pile: Path) -> sqlite3.Connection:
    """The catalog, after a submit of the folder."""
    enter(db, pile, *pile.rglob("*.png"))
    return db


def left(db: sqlite3.Connection) -> set[str]:
    return {os.fsdecode(row[0]) for row in db.execute("SELECT name FROM locations")}


def reasons(result: Forgotten) -> dict[str, str]:
    return {Path(os.fsdecode(doubt.folder)).name: doubt.reason for doubt in result.kept}


def test_a_deleted_file_is_forgotten_at_once_and_the_count_is_told(
    known: sqlite3.Connection, pile: Path
) -> None:
    (pile / "one.png").unlink()
    done = mediaflow("forget", "--gone", str(pile))
    assert (done.returncode, done.stderr) == (0, "Removed 1 file from the index.\n")
    assert left(known) == {"two.png", "three.png"}
    assert answer("forget", "--gone") == {"locations": 0, "assets": 0}


def test_a_copy_elsewhere_is_told(known: sqlite3.Connection, pile: Path, tmp_path: Path) -> None:
    enter(known, tmp_path / "more", tmp_path / "more" / "one.png")
    (pile / "one.png").unlink()
    done = mediaflow("forget", "--gone", str(pile))
    assert done.stderr == "Removed 1 file from the index (1 copy is still indexed elsewhere).\n"
    assert mediaflow("forget", str(pile / "two.png"), str(pile / "year")).stderr == (
        "Removed 2 files from the index.\n"
    )


def test_a_path_that_is_not_indexed_is_told(known: sqlite3.Connection) -> None:
    done = mediaflow("forget", "/x", "--library", "other")
    assert (done.returncode, done.stderr) == (2, "mediaflow: /x is not in library 'other'.\n")
    assert mediaflow("forget").returncode == 2


def test_a_deleted_folder_in_a_submitted_one_is_forgotten(known: sqlite3.Connection, pile: Path) -> None:
    shutil.rmtree(pile / "year")
    assert forget_gone(known, Scope("default", (os.fsencode(pile / "year"),))).locations == 1
    assert left(known) == {"one.png", "two.png"}


def test_all_files_of_a_folder_may_be_deleted(known: sqlite3.Connection, pile: Path) -> None:
    (pile / "year" / "three.png").unlink()
    assert forget_gone(known, Scope("default")).locations == 1


def test_a_submitted_folder_that_is_missing_or_empty_is_kept(known: sqlite3.Connection, pile: Path) -> None:
    shutil.rmtree(pile)
    done = mediaflow("forget", "--gone", str(pile))
    assert done.returncode == 2
    assert f"{pile} does not exist: 3 files kept. Is its disk mounted?" in done.stderr
    assert "mediaflow forget" in done.stderr
    pile.mkdir()
    result = forget_gone(known, Scope("default"))
    assert (result.locations, reasons(result)) == (0, {"pile": "is empty"})
    assert len(left(known)) == 3
    assert "Removed 3 files" in mediaflow("forget", str(pile)).stderr, "a person can say so"


def test_an_empty_mount_point_below_a_submitted_folder_is_kept(known: sqlite3.Connection, pile: Path) -> None:
    (pile / "year" / "three.png").unlink()
    os.utime(pile / "year", (1, 1))  # the folder that a disk covered: nothing was deleted in it since
    (pile / "one.png").unlink()
    result = forget_gone(known, Scope("default"))
    assert (result.locations, reasons(result)) == (1, {"year": "is empty"})
    assert left(known) == {"two.png", "three.png"}


def test_files_below_a_missing_disk_are_kept_in_deeper_folders_too(
    db: sqlite3.Connection, pile: Path
) -> None:
    deep = pile / "disk" / "a" / "b" / "four.png"
    deep.parent.mkdir(parents=True)
    deep.touch()
    enter(db, pile, deep)
    shutil.rmtree(pile / "disk" / "a")
    os.utime(pile / "disk", (1, 1))
    assert reasons(forget_gone(db, Scope("default"))) == {"disk": "is empty"}


def test_a_submitted_file_is_forgotten_when_its_folder_shows_that_it_was_deleted(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    single, lost = tmp_path / "a" / "single.png", tmp_path / "b" / "lost.png"
    for path in (single, lost):
        path.parent.mkdir()
        path.touch()
        enter(db, path, path)
        path.unlink()
    lost.parent.rmdir()
    result = forget_gone(db, Scope("default"))
    assert (result.locations, reasons(result)) == (1, {"b": "does not exist"})
    assert left(db) == {"lost.png"}


def test_a_folder_that_cannot_be_read_is_kept(known: sqlite3.Connection, pile: Path) -> None:
    shutil.rmtree(pile / "year")
    (pile / "year").symlink_to("year")
    result = forget_gone(known, Scope("default"))
    assert result.locations == 0
    assert reasons(result) == {"year": "cannot be read (Too many levels of symbolic links)"}


def test_a_file_that_is_back_is_kept_and_another_library_too(known: sqlite3.Connection, pile: Path) -> None:
    locations.mark_gone(known, "default", os.fsencode(pile), [b"one.png"])
    enter(known, pile, pile / "absent.png", library="other")
    assert forget_gone(known, Scope("default")).locations == 0
    assert "absent.png" in left(known)


def test_a_replaced_folder_holds_nothing_of_before(known: sqlite3.Connection, pile: Path) -> None:
    shutil.rmtree(pile / "year")
    (pile / "year").touch()
    assert forget_gone(known, Scope("default")).locations == 1
