"""Questions as shells and pipes hand them over: any bytes, and each is answered or refused as wrong usage."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mediaflow.catalog.database import connect
from mediaflow.errors import UsageError
from mediaflow.search.engine import Searcher
from mediaflow.search.request import MAX_CHARACTERS, Request, readable_text
from tests.installation import ROOT
from tests.spaces import enter, name_of, use_tiny_spaces


@pytest.fixture
def catalog(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """A catalog with a file that is called after a city."""
    use_tiny_spaces(monkeypatch)
    with closing(connect()) as db:
        enter(db, "/a/München.jpg", shows="city", says="Grüße aus München")
        yield db


ODD = [
    os.fsdecode("München".encode("latin-1")),
    "\ud800 München",
    "München\x00",
    "\x1b[31mMünchen\x07",
    "\x85München\x9f",
    "M\N{COMBINING ACUTE ACCENT}\u202e München",
    "München " * 130_000,
    "München \uffff \U0010ffff",
]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_text_is_answered(catalog: sqlite3.Connection, text: str) -> None:
    request = Request(text)
    answer = Searcher(catalog).search(request)
    assert [name_of(result.path) for result in answer.results] == ["München.jpg"]
    json.dumps(request.text, ensure_ascii=False).encode()
    assert len(request.question) <= MAX_CHARACTERS


@pytest.mark.parametrize("text", ["", " \t\n", "\x00\x01\x7f", "\x85"])
def test_nothing_but_spaces_and_control_characters_is_wrong_usage(
    catalog: sqlite3.Connection, text: str
) -> None:
    with pytest.raises(UsageError, match="Ask for something"):
        Searcher(catalog).search(Request(text))


@pytest.mark.parametrize("text", ["plain", "Grüße 東京 \U0001f600", "tab\tand\nline"])
def test_text_that_is_text_keeps_its_letters(text: str) -> None:
    assert readable_text(text).split() == text.split()


@pytest.mark.parametrize("name", ["image", "like"])
@pytest.mark.parametrize("path", ["", "a\x00b", "\ud800", os.fsdecode(b"/a/\xff.jpg")])
def test_a_path_that_is_none_is_wrong_usage(catalog: sqlite3.Connection, name: str, path: str) -> None:
    with pytest.raises(UsageError):
        Searcher(catalog).search(Request(**{name: path}))


def test_a_library_that_is_no_text_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        Request("x", library=os.fsdecode(b"\xff"))


@pytest.mark.parametrize("limit", [0, -1, 10**6])
@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -float("inf"), -(10.0**300)])
def test_odd_numbers_are_no_error(catalog: sqlite3.Connection, limit: int, moment: float) -> None:
    for request in (Request("city", since=moment, limit=limit), Request("city", until=moment, limit=limit)):
        assert len(Searcher(catalog).search(request).results) <= max(0, limit)


def run(
    *words: bytes | str, stdin: bytes = b"", locale: str = "C.UTF-8"
) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"LC_ALL": locale, "PYTHONIOENCODING": ""}
    command = [sys.executable, "-m", "mediaflow", "search", *words]
    return subprocess.run(
        command, input=stdin, capture_output=True, cwd=ROOT, env=environment, timeout=120, check=False
    )


def test_lines_of_any_bytes_are_answered_one_by_one(catalog: sqlite3.Connection) -> None:
    lines = [
        b"M\xfcnchen",
        "München".encode(),
        b"\x00\x01",
        b"\xed\xa0\x80 M\xfcnchen",
        b"   ",
        b"M\xfcnchen " * 120_000,
        b"\xff\xfe",
        b"nothing",
    ]
    done = run("-", "--in", "name", stdin=b"\r\n".join(lines))
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    found = [[name_of(result["path"]) for result in answer["results"]] for answer in answers]
    assert found == [["München.jpg"]] * 4 + [[], []]
    assert [answer["query"] for answer in answers[:2]] == ["München", "München"]
    for answer in answers:
        answer["query"].encode()
    assert (done.returncode, done.stderr.decode()) == (
        2,
        "Line 3: Ask for something: words, --image FILE or --like PATH.\n",
    )


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_arguments_of_any_bytes_are_answered(catalog: sqlite3.Connection, locale: str) -> None:
    done = run(b"M\xfcnchen", "--in", "name", "--json", locale=locale)
    assert done.returncode == 0, done.stderr
    assert [name_of(result["path"]) for result in json.loads(done.stdout)] == ["München.jpg"]
    for words in ((b"--image", b"\xff.jpg"), (b"--like", b"\xff"), (b"x", b"--library", b"\xff")):
        done = run(*words)
        assert done.returncode == 2
        assert b"Traceback" not in done.stderr
