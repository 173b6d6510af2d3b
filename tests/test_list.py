"""`mediaflow list` and silent answers: what is known, and what to do where nothing is found."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mediaflow.catalog import listing, locations
from mediaflow.catalog.database import connect
from mediaflow.catalog.listing import Filter
from mediaflow.catalog.locations import Scope
from mediaflow.cli import dates
from mediaflow.cli.output import byte_size, counted, when
from mediaflow.errors import UsageError
from mediaflow.media.times import OUT_OF_RANGE
from mediaflow.ops.show import describe
from tests.known import FOLDER, ODD, YEAR_2020, build, run, said

WHOLE = Scope("default")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("known") / "home")


def names(known: Path, scope: Scope = WHOLE, **only: Any) -> set[bytes]:
    with closing(connect(known / "catalog.sqlite")) as db:
        return {os.path.split(os.fsencode(file.path))[1] for file in listing.files(db, scope, Filter(**only))}


def test_a_listing_is_filtered_by_state(known: Path) -> None:
    assert names(known, state="failed") == {b"broken.png", b"unread.png"}
    assert names(known, state="queued") == {b"queued.png"}
    assert names(known, state="gone") == {b"gone.png"}
    assert names(known, state="done") == {*ODD, b"taken.jpg", b"half.jpg", b"talk.mp3"}
    assert names(known, state="skipped") == {b"lost-ending"}


def test_a_listing_is_filtered_by_kind_warning_and_path(known: Path) -> None:
    assert names(known, kind="audio") == {b"talk.mp3"}
    assert names(known, warnings=True) == {b"half.jpg"}
    assert names(known, Scope("default", (FOLDER + b"/talk.mp3",))) == {b"talk.mp3"}
    assert names(known, Scope("scans")) == {b"copy.png"}


@pytest.mark.parametrize(("limit", "words"), [(0, "before 1677"), (1, "after 2262")])
def test_a_time_out_of_range_is_a_warning_of_its_file(tmp_path: Path, limit: int, words: str) -> None:
    home = build(tmp_path / "home")
    with closing(connect(home / "catalog.sqlite")) as db:
        db.execute(
            "UPDATE locations SET mtime_ns = ? WHERE name IN (?, ?)",
            (OUT_OF_RANGE[limit], b"half.jpg", b"talk.mp3"),
        )
        found = {
            Path(file.path).name: file.warning for file in listing.files(db, WHOLE, Filter(warnings=True))
        }
        row = locations.of_path(db, b"/pile/half.jpg")
        assert row is not None
        shown = describe(db, row)["media"]["warning"]
        assert locations.warned_in(db, 1) == 2
    assert set(found) == {"half.jpg", "talk.mp3"}
    assert words in str(found["talk.mp3"])
    assert shown == found["half.jpg"]
    assert shown.startswith("damaged: about half of it; ")


def test_the_day_of_until_is_included_in_local_time(known: Path) -> None:
    """The picture was taken at 23:30 on the last day of 2024; all others were written in May 2020."""
    assert names(known, since=dates.since("2024-12-31")) == {b"taken.jpg"}
    assert names(known, since=dates.since("2024"), until=dates.until("2024")) == {b"taken.jpg"}
    assert b"taken.jpg" in names(known, until=dates.until("2024-12"))
    assert b"taken.jpg" not in names(known, until=dates.until("2024-12-30"))
    assert names(known, until=dates.until("2020-04")) == set()


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (None, 5.0),
        ("", 5.0),
        ("no date", 5.0),
        ("0001-01-01T00:00:00", 5.0),
        ("1970-01-01T00:00:09+00:00", 9.0),
    ],
)
def test_a_date_that_is_none_is_the_time_of_the_file(taken: str | None, expected: float) -> None:
    assert listing.media_date(taken, 5_000_000_000) == expected


@pytest.mark.parametrize(
    ("text", "following"),
    [("2024", "2025"), ("2024-12", "2025-01"), ("2024-02-29", "2024-03-01"), ("2023-02-28", "2023-03-01")],
)
def test_until_ends_where_the_next_period_begins(text: str, following: str) -> None:
    assert dates.until(text) == dates.since(following)


def test_odd_dates_are_an_answer_or_a_message() -> None:
    assert dates.until("9999") is None
    assert dates.until("9999-12-31") is None
    for text in ("soon", "2024-13", "2023-02-29", "", "24", "-5"):
        with pytest.raises(UsageError, match="is not a date"):
            dates.since(text)
    with pytest.raises(UsageError, match="no file can be between"):
        dates.period("2024-05", "2024-04")
    assert dates.period("2024-05", "2024-05")[0] is not None


@pytest.mark.parametrize("seconds", [1e300, -1e300, 9.2e18, -9.2e18, float("inf"), float("nan"), 2.6e11])
def test_a_time_that_no_calendar_has_is_a_question_mark(seconds: float) -> None:
    assert when(seconds) in ("?", when(2.6e11))


def test_the_first_second_of_1970_is_a_time() -> None:
    assert when(0.0).startswith(("1970", "1969"))
    assert when(None) == ""


def test_one_thing_is_singular() -> None:
    shown = [
        counted(1, "file"),
        counted(2000, "file"),
        counted(0, "match"),
        counted(2, "library"),
        counted(2, "day"),
    ]
    assert shown == ["1 file", "2,000 files", "0 matches", "2 libraries", "2 days"]


def test_sizes_have_two_digits_at_least() -> None:
    assert [byte_size(size) for size in (0, 999, 1000, 3_440_000, 12_400_000, 999_960, 5 * 10**15)] == [
        "0 B", "999 B", "1.0 kB", "3.4 MB", "12 MB", "1.0 MB", "5,000 TB",
    ]  # fmt: skip


@pytest.mark.parametrize("only", [Filter(), Filter(kind="image", state="failed"), Filter(warnings=True)])
def test_a_catalog_of_many_files_is_read_while_it_is_shown(tmp_path: Path, only: Filter) -> None:
    sql, parameters = listing.query(WHOLE, only)
    with closing(connect(tmp_path / "catalog.sqlite")) as db:
        steps = [step["detail"] for step in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    assert not [step for step in steps if "TEMP B-TREE FOR ORDER BY" in step and "LAST TERM" not in step], (
        steps
    )


@pytest.mark.slow
def test_the_list_in_json_is_one_array_with_stable_keys(known: Path) -> None:
    files = json.loads(run(known, "list", "--json").stdout)
    keys = "path library state kind asset size seconds date taken tasks warning reason".split()
    assert len(files) == len(ODD) + 8
    assert all(list(file) == keys for file in files)
    [talk] = [file for file in files if file["path"] == "/pile/talk.mp3"]
    assert (talk["size"], talk["seconds"], talk["date"], talk["tasks"]) == (
        2000,
        61.5,
        YEAR_2020,
        ["transcribe"],
    )
    assert {os.fsencode(file["path"]) for file in files} >= {FOLDER + b"/" + name for name in ODD}
    assert json.loads(run(known, "list", "--state", "skipped", "--kind", "audio", "--json").stdout) == []


@pytest.mark.slow
def test_the_list_through_a_pipe_has_a_file_on_each_line(known: Path) -> None:
    lines = run(known, "list").stdout.decode().splitlines()
    assert {len(line.split("\t")) for line in lines} == {8}
    assert "/pile/talk.mp3\tdone\taudio\t2020-05-20\t2.0 kB\t1:01\ttranscribe\t" in lines
    assert "/pile/unread.png\tfailed\timage\t2020-05-20\t2.0 kB\t\t\tocr: out of memory" in lines
    assert len(run(known, "list", "--limit", "2").stdout.splitlines()) == 2


@pytest.mark.slow
def test_the_libraries_are_listed_with_what_they_hold(known: Path) -> None:
    default, scans = json.loads(run(known, "list", "--libraries", "--json").stdout)
    assert default == {
        "library": "default", "files": len(ODD) + 8, "done": len(ODD) + 3, "failed": 2, "queued": 1,
        "skipped": 1, "gone": 1, "bytes": 2000 * (len(ODD) + 7),
    }  # fmt: skip
    assert (scans["library"], scans["files"]) == ("scans", 1)
    assert b"scans" in run(known, "list", "--libraries").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["search", "zebra", "--in", "name"], 0, "Nothing found in library 'default'."),
        (["search", "x", "--library", "scan"], 0, "There is no library 'scan'. Libraries: default, scans."),
        (["list", "--library", "scan"], 2, "There is no library 'scan'. Libraries: default, scans."),
        (["export", "--library", "scan"], 2, "There is no library 'scan'. Libraries: default, scans."),
        (["list", "/nowhere"], 0, "/nowhere is not in library 'default'."),
        (["list", "/scans"], 0, "/scans is not in library 'default', but in scans: add --library scans."),
        (["export", "/nowhere", "/none"], 0, "/nowhere, /none are not in library 'default'."),
        (["list", "--kind", "video"], 0, "No file in library 'default' is like that."),
    ],
)
def test_nothing_is_said_to_be_nothing(known: Path, arguments: list[str], status: int, words: str) -> None:
    done = run(known, *arguments)
    assert (done.returncode, done.stdout) == (status, b"")
    assert words in said(done)


@pytest.mark.slow
def test_an_empty_catalog_says_how_to_begin(tmp_path: Path) -> None:
    for command in (["search", "x"], ["list"], ["list", "--libraries"], ["export"]):
        done = run(tmp_path / "new", *command)
        assert (done.returncode, done.stdout) == (0, b"")
        assert said(done) == "Nothing was submitted yet. Begin with: mediaflow submit --wait FOLDER\n"
    assert json.loads(run(tmp_path / "new", "search", "x", "--json").stdout) == []
    assert json.loads(run(tmp_path / "new", "list", "--json").stdout) == []
