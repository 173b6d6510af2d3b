"""Names of files that would write to the terminal themselves: every command shows them, and obeys none."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installation import ROOT, Installation, answer, mediaflow, paint

pytestmark = pytest.mark.slow

NAMES = [
    b"\x1b[2Jcleared.png",
    b"\x1b]0;title\x07.png",
    "\x9b2Jcleared.png".encode(),
    b"new\nline.png",
    b"back\x08\x08space\rreturn.png",
    b"[bold red]rich[reverse] [link=file:x]x.png",
    b"quote\"'`$(id).png",
    b"-rf.png",
    b"--help.png",
    "exe\u202egnp.png".encode(),
    b"caf\xe9\xff.png",
    b"<img src=x onerror=alert(1)>.png",
]
# What mediaflow and rich write on a terminal themselves: colours, links with addresses that are escaped,
# and the cursor of a progress line.
OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b\x07]*\x1b\\|\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]|\r")
FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str, what: object) -> None:
    found = FORBIDDEN.search(OWN.sub("", text))
    assert not found, f"{what}: {text[max(0, found.start() - 40) : found.end() + 40]!r}"


def on_a_terminal(*arguments: str) -> str:
    """What a command writes where standard output and error are a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mediaflow", *arguments]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT)
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 65536):
            written += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    process.wait(60)
    return written.decode("utf-8", "surrogateescape")


@pytest.mark.long
def test_no_command_shows_a_name_as_it_is(installation: Installation, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"pile\x1b[2J\n")
    for number, name in enumerate(NAMES):
        path = paint(tmp_path / "x.png", seed=number)
        folder.mkdir(exist_ok=True)
        path.rename(folder / os.fsdecode(name))
        (folder / os.fsdecode(b"bad" + name)).write_bytes(b"no picture %d" % number)
    root = str(folder)
    harmless(on_a_terminal("submit", root, "--wait"), "submit")
    result = answer("submit", root, "--wait")
    assert (result["files"], result["failed"]) == (2 * len(NAMES), 0), "old failures are not of this run"

    failed = [each["path"] for each in answer("failures")]
    assert {os.fsencode(path).rpartition(b"/")[2] for path in failed} == {b"bad" + name for name in NAMES}
    good = [str(folder / os.fsdecode(name)) for name in NAMES]
    for path in [*good[:3], good[10], *failed[:2]]:
        assert answer("show", path)["path"] == path, "the path that JSON gives is the file's"

    looked: list[list[str]] = [
        ["show", good[0]], ["show", good[1]], ["show", good[5]], ["show", good[9]], ["show", failed[0]],
        ["failures"], ["failures", root], ["failures", root + "/nothing\x1b[2J"], ["status"], ["runs"],
        ["search", "cleared", "--in", "name"], ["search", "space return", "--in", "name"],
        ["search", "rich", "--in", "name"], ["search", "\x1b[2J caf", "--in", "name"],
        ["search", "--like", root + "\x1b[2J"], ["search", "--image", failed[0]],
        ["export"], ["export", good[0]], ["submit", root + "\x1b[2J/none"], ["submit", root, "--dry-run"],
        ["submit", "/dev/null"], ["submit", root, "--tasks", "\x1b[2J"], ["show", root + "\x07"],
        ["search", "x", "--since", "\x1b[2J"], ["search", "x", "--kind", "\x1b[2J"],
        ["retry", root + "\x1b[2J"], ["submit", root, "--library", "\x1b[2J", "--dry-run"],
        ["nothing\x1b[2J"], ["show", "x", "--\x1b[2J"],
        ["forget", root + "\x1b[2J"],
    ]  # fmt: skip
    for arguments in looked:
        done = mediaflow(*arguments)
        harmless(done.stdout, arguments)
        harmless(done.stderr, arguments)
        assert "Traceback" not in done.stderr, arguments
        if arguments[0] in ("show", "failures", "status", "runs", "search", "forget", "submit", "export"):
            harmless(on_a_terminal(*arguments), ("terminal", arguments))
    for arguments in (["failures"], ["status"], ["runs"], ["search", "cleared", "--in", "name"]):
        harmless(mediaflow(*arguments, "--json").stdout, arguments)
    shown = mediaflow("failures").stdout
    assert "\\x1b[2Jcleared.png" in shown
    assert "[bold red]rich[reverse]" in shown, "markup is text"
    harmless(on_a_terminal("forget", root), "forget")
    assert installation.ask("SELECT COUNT(*) FROM locations") == [(0,)]


def test_the_problem_of_a_root_escapes_the_path(tmp_path: Path) -> None:
    from mediaflow.errors import UsageError
    from mediaflow.ops.plan import plan

    os.mkfifo(tmp_path / "pipe\x1b[2J")
    for path in (tmp_path / "pipe\x1b[2J", tmp_path / "none\x1b[2J"):
        with pytest.raises(UsageError) as caught:
            plan([str(path)], "default", None, ())
        harmless(str(caught.value), path)
