"""Locks between processes: taken once, and let go of however their holder ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mediaflow.ops.lock import Lock, holder
from tests.installation import ROOT

HOLD = """
import time
from mediaflow.ops.lock import Lock

with Lock("x"):
    print("has it", flush=True)
    time.sleep(100)
"""


def test_a_lock_is_taken_once_and_says_by_whom(home: Path) -> None:
    assert holder("x") is None
    with Lock("x") as mine:
        assert mine.taken
        assert holder("x") == os.getpid()
        with Lock("x") as second:
            assert not second.taken
            assert second.holder == os.getpid()
        assert holder("x") == os.getpid()
        with Lock("y") as other:
            assert other.taken
    assert holder("x") is None
    with Lock("x") as again:
        assert again.taken


def test_a_lock_is_free_when_its_holder_was_killed(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert holder("x") == process.pid
        process.kill()
        process.wait()
        assert holder("x") is None
        with Lock("x") as mine:
            assert mine.taken
