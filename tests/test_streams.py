"""The standard streams: readers that end early, closed and full ones, and characters they cannot hold."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.installation import paint_many
from tests.known import build, run, said

pytestmark = pytest.mark.slow  # each command is a process of its own

# Rich tables, plain lines, streamed JSON, help of Typer: what is written in ways of its own.
READERS = {
    "--help": "head -1", "status": "head -1", "runs": "true", "list --json": "head -c1", "list": "true",
    "export": "head -1", "search png --in name": "head -1", "show /pile/talk.mp3": "true",
    "models list": "head -1",
}  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("known") / "home")


@pytest.mark.parametrize("command", READERS)
def test_a_reader_that_ends_early_is_no_error(known: Path, command: str) -> None:
    done = run(known, *command.split(), after=f"| {READERS[command]}")
    assert done.returncode == 0
    assert said(done) == ""


def test_a_reader_that_ends_early_does_not_hide_the_status_of_the_command(known: Path) -> None:
    done = run(known, "doctor", after="| true", MEDIAFLOW_CONFIGS="/nowhere")
    assert (done.returncode, said(done)) == (3, "")


def test_an_answer_longer_than_any_buffer_ends_with_its_reader(tmp_path: Path) -> None:
    from contextlib import closing

    from mediaflow.catalog import locations
    from mediaflow.catalog.database import connect, transaction
    from mediaflow.catalog.locations import Candidate

    tmp_path.joinpath("home").mkdir(exist_ok=True)
    with closing(connect(tmp_path / "home" / "catalog.sqlite")) as db, transaction(db):
        files = [Candidate(b"/pile", b"%05d.png" % number, 1, 1, None) for number in range(3000)]
        locations.enqueue(db, "default", 1, "job", files)
    for command in (["list"], ["list", "--json"]):
        done = run(tmp_path / "home", *command, after="| head -1")
        assert (done.returncode, said(done)) == (0, "")
        assert b"00000.png" in done.stdout
    assert len(json.loads(run(tmp_path / "home", "list", "--json").stdout)) == 3000


@pytest.mark.parametrize("command", ["list --json", "status", "--help"])
def test_a_full_standard_output_is_not_a_full_home(known: Path, command: str) -> None:
    done = run(known, *command.split(), after="> /dev/full")
    assert done.returncode == 1
    assert said(done) == "mediaflow: Standard output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("command", ["search nothing", "show /nowhere", "nonsense"])
def test_a_full_standard_error_changes_nothing(known: Path, command: str) -> None:
    whole, full = (run(known, *command.split(), after=after) for after in ("", "2> /dev/full"))
    assert (full.returncode, full.stdout) == (whole.returncode, whole.stdout)


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>/dev/full", "2>&1 | true"])
def test_the_work_is_done_whatever_the_streams_are(colours: Path, tmp_path: Path, closed: str) -> None:
    paint_many(tmp_path / "pile", 1)
    done = run(colours, "submit", "--wait", str(tmp_path / "pile"), after=closed)
    assert done.returncode == 0, said(done)
    [file] = json.loads(run(colours, "list", "--json").stdout)
    assert (file["state"], file["tasks"]) == ("done", ["look"])


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1"])
def test_characters_that_a_stream_cannot_hold_are_escaped(known: Path, encoding: str) -> None:
    for command in (
        ["list"], ["search", "Müller", "--in", "name"], ["show", "/pile/İstanbul 😀.png"], ["show", "İ😀"],
        ["search", "İ", "--library", "😀"],
    ):  # fmt: skip
        done = run(known, *command, PYTHONIOENCODING=encoding)
        usual = run(known, *command, PYTHONIOENCODING="utf-8")
        assert done.returncode == usual.returncode
        for came, whole in ((done.stdout, usual.stdout), (done.stderr, usual.stderr)):
            assert came == whole.decode().encode(encoding, "backslashreplace")


def test_under_cron_names_are_written_as_they_are(known: Path) -> None:
    assert "/pile/İstanbul 😀.png\t".encode() in run(known, "list", LC_ALL="C").stdout


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a locale that is not UTF-8, which most machines have to make first."""
    folder = tmp_path_factory.mktemp("locale")
    if not shutil.which("localedef"):
        pytest.skip("localedef is not installed")
    made = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(folder / "de_DE")],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("the sources of locales are not installed")
    return {"LOCPATH": str(folder), "LC_ALL": "de_DE"}


def test_a_locale_that_is_not_utf_8_reads_names_as_utf_8(known: Path, german: dict[str, str]) -> None:
    assert run(known, "list", "--json", **german).stdout == run(known, "list", "--json").stdout
    shown = run(known, "list", **german).stdout
    assert b"/pile/\\u0130stanbul \\U0001f600.png\t" in shown
    assert b"/pile/M\xfcller \\u2082.png\t" in shown
    assert run(known, "show", "/pile/Müller ₂.png".encode(), **german).returncode == 0


def test_words_are_read_in_the_encoding_of_the_locale(known: Path, german: dict[str, str]) -> None:
    for query in ("Müller".encode("iso8859-1"), "Müller".encode()):
        done = run(known, "search", query, "--in", "name", **german)
        assert b"M\xfcller" in done.stdout, said(done)
        line = run(known, "search", "-", "--in", "name", stdin=query + b"\n", **german)
        assert json.loads(line.stdout)["query"] == "Müller"


def test_a_query_that_is_not_utf_8_has_an_answer(known: Path) -> None:
    query = b"caf\xe9 \xff\xfe"
    done = run(known, "search", query, "--in", "name", "--json")
    assert done.returncode == 0, said(done)
    assert isinstance(json.loads(done.stdout), list)
    lines = [query, b"x\xed\xa0\x80", b"\xe2\x82", b"Muller"]
    batch = run(known, "search", "-", "--in", "name", stdin=b"\n".join(lines))
    answers = [json.loads(line) for line in batch.stdout.splitlines()]
    assert len(answers) == len(lines), said(batch)
    assert answers[-1]["results"]
