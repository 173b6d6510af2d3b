"""`mediaflow show`: one file, everything that is known of it, and why something is not."""

from __future__ import annotations

import json
import os
import sqlite3
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest

from mediaflow.catalog.database import connect
from mediaflow.ops.show import why_unknown
from tests.installation import paint
from tests.known import YEAR_2020, build, run, said


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("known") / "home")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.pdf", "PDF files are not supported yet"),
        ("X.PDF", "PDF files are not supported yet"),
        ("x.docx", ".docx files are not supported yet"),
        ("x.xmp", "belongs to another file"),
        (".x.png", "hidden files are not analysed"),
        ("x.png.part", "unfinished download"),
        ("Thumbs.db", "files of the operating system"),
        ("x.png", "is not known. Submit it: mediaflow submit --wait PATH"),
        ("none\x1b[2J.png", "none\\x1b[2J.png does not exist and is not known"),
    ],
)
def test_a_file_that_is_not_known_is_told_why(tmp_path: Path, name: str, words: str) -> None:
    if not name.startswith("none"):
        (tmp_path / name).write_bytes(b"x")
    said_of_it = why_unknown(str(tmp_path / name))
    assert words in said_of_it
    assert ("Submit it" in said_of_it) == (name == "x.png")
    assert "is a folder" in why_unknown(str(tmp_path))


@pytest.mark.slow
def test_a_file_is_shown_with_date_size_library_and_copies(known: Path) -> None:
    shown = run(known, "show", "/scans/copy.png").stdout.decode()
    assert "modified 2020-05-20" in shown
    assert "2.0 kB" in shown
    assert "library scans" in shown
    assert "1 other location of the same content:" in shown
    assert "/pile/İstanbul 😀.png (library default)" in shown
    answer = json.loads(run(known, "show", "/scans/copy.png", "--json").stdout)
    assert (answer["library"], answer["size"], answer["modified"]) == ("scans", 2000, YEAR_2020)
    assert [(each["path"], each["library"]) for each in answer["locations"]] == [
        ("/scans/copy.png", "scans"), ("/pile/İstanbul 😀.png", "default"),
    ]  # fmt: skip


@pytest.mark.slow
def test_what_was_left_out_and_when_it_was_taken_is_shown(known: Path) -> None:
    assert b"warning: damaged: about half of it" in run(known, "show", "/pile/half.jpg").stdout
    assert b"taken 2024-12-31 23:30:00" in run(known, "show", "/pile/taken.jpg").stdout
    assert b"not there any more since" in run(known, "show", "/pile/gone.png").stdout
    assert b"failed: a damaged PNG image" in run(known, "show", "/pile/broken.png").stdout


@pytest.mark.slow
def test_a_file_that_was_skipped_did_not_fail(known: Path) -> None:
    shown = run(known, "show", "/pile/lost-ending").stdout
    assert b"skipped: not a media file (text)" in shown
    assert b"failed" not in shown
    answer = json.loads(run(known, "show", "/pile/lost-ending", "--json").stdout)
    assert answer["skipped"] == {"reason": "not a media file (text)"}
    assert "failed" not in answer
    assert b"lost-ending\tskipped\t" in run(known, "list", "--state", "skipped").stdout


@pytest.mark.slow
def test_times_that_no_calendar_has_are_shown_as_a_question_mark(tmp_path: Path) -> None:
    home = build(tmp_path / "known")
    with closing(connect(home / "catalog.sqlite")) as db:
        db.execute("UPDATE locations SET mtime_ns = ?, gone = 1e300 WHERE name = ?", (2**63 - 1, b"talk.mp3"))
        db.execute("UPDATE assets SET media = json_set(media, '$.taken', '9999-12-31T23:59:59')")
        db.execute("UPDATE runs SET started = 1e300, ended = 2e300")
    for command in (["show", "/pile/talk.mp3"], ["list"], ["list", "--json"], ["runs"], ["status"]):
        done = run(home, *command)
        assert (done.returncode, said(done)) == (0, ""), command
    assert b"not there any more since ?" in run(home, "show", "/pile/talk.mp3").stdout


@pytest.mark.slow
def test_a_path_is_found_in_the_form_that_a_mac_gives_it(colours: Path, tmp_path: Path) -> None:
    from mediaflow.catalog import locations
    from mediaflow.catalog.locations import Candidate

    name = unicodedata.normalize("NFD", "Café.png")
    paint(tmp_path / name)
    with closing(connect()) as db:
        folder = os.fsencode(tmp_path)
        locations.enqueue(db, "default", 1, "job", [Candidate(folder, name.encode(), 1, 1, None)])
    assert run(colours, "show", str(tmp_path / "Café.png")).returncode == 0


def test_every_row_of_a_location_has_what_show_needs(db: sqlite3.Connection) -> None:
    columns = {row[1] for row in db.execute("PRAGMA table_info(locations)")}
    assert {"library", "size", "mtime_ns", "reason", "gone", "asset"} <= columns
