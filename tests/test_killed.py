"""Killed at any instruction: search stays right, and done again it is as if nothing had been killed."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing, serve

pytestmark = pytest.mark.slow

# Kills of each operation; tests/killing.py does all that there are.
KILLS = "12"


def kill(operation: str, kind: str, url: str, count: str = KILLS) -> None:
    seed = str(random.SystemRandom().randrange(10**6))
    done = subprocess.run(
        [sys.executable, "-m", "tests.killing", operation, kind, count, seed, url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("operation", ["index", "store", "prepare", "forget", "prune"])
def test_killed_at_any_line_it_can_be_done_again(operation: str, tmp_path: Path) -> None:
    with serve("valkey", tmp_path) as url:
        kill(operation, "lines", url)


@pytest.mark.parametrize("operation", ["index", "store", "prepare", "forget"])
def test_killed_at_any_system_call_it_can_be_done_again(operation: str, tmp_path: Path) -> None:
    """Within SQLite's COMMIT, FAISS writing its file, a rename, a sync."""
    if not shutil.which("strace"):
        missing("strace is not installed: apt-get install strace")
    with serve("valkey", tmp_path) as url:
        # All of the index writer's: only between two of them would a wrong order be seen.
        kill(operation, "calls", url, "0" if operation == "index" else KILLS)
