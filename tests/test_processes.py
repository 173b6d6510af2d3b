"""The processes of an installation: which there are, what they leave on disk, and how they hang together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mediaflow.errors import UnreachableError
from mediaflow.lifeline import runs
from mediaflow.media import cache
from mediaflow.ops import processes
from mediaflow.ops.processes import keep_logs_short, log_path, planned_workers
from mediaflow.queues.connection import connect
from mediaflow.queues.overview import served_queues
from mediaflow.settings import load_settings
from tests.installation import ROOT, Installation, until


def test_the_procfile_starts_what_up_starts() -> None:
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line)
    workers = {
        planned.name: f"mediaflow worker {planned.queue}" for planned in planned_workers(load_settings())
    }
    assert lines == {"queue": "mediaflow up queue"} | workers


def test_there_are_as_many_workers_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_TASKS__OCR__WORKERS", "2")
    monkeypatch.setenv("MEDIAFLOW_TASKS__NSFW__WORKERS", "0")
    names = [planned.name for planned in planned_workers(load_settings())]
    assert names == ["prepare", "ocr", "ocr-2", "embed", "transcribe", "index"]


def test_a_log_that_has_become_long_begins_anew_under_its_writer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT", 100)
    log = log_path("ocr")
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 150)
        keep_logs_short()
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert log.with_name("ocr.log.1").stat().st_size == 150


def test_what_a_killed_child_left_half_made_goes_after_a_day(home: Path) -> None:
    old, new = (home / "renditions" / "ab" / f"{name}.partial-1" for name in ("old", "new"))
    whole = home / "renditions" / "ab" / "whole"
    for folder in (old, new, whole):
        folder.mkdir(parents=True)
        (folder / "page-0001.jpg").touch()
    day_ago = time.time() - 2 * 24 * 3600
    for folder in (old, whole):
        os.utime(folder, (day_ago, day_ago))
    cache.remove_unfinished()
    assert {path.name for path in (home / "renditions" / "ab").iterdir()} == {"new.partial-1", "whole"}


def test_a_process_ends_with_its_parent() -> None:
    child = (
        "import signal, time, os; from mediaflow.lifeline import end_with_parent\n"
        "end_with_parent(signal.SIGKILL); print(os.getpid(), flush=True); time.sleep(100)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert runs(pid)
        process.kill()
        until(lambda: not runs(pid), "the child has ended", 5)


def test_a_process_whose_parent_has_ended_already_ends_at_once() -> None:
    script = (
        "import signal; from mediaflow.lifeline import end_with_parent; end_with_parent(signal.SIGTERM, 1)"
    )
    done = subprocess.run([sys.executable, "-c", script + "; print('still here')"], cwd=ROOT, check=False)
    assert done.returncode < 0


def test_a_zombie_does_not_run() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    until(lambda: not runs(process.pid), "it has ended, though nobody asked how", 10)
    process.wait()


@pytest.mark.slow
def test_the_procfile_runs_under_honcho_and_stops_in_order(home: Path) -> None:
    programs = os.path.dirname(sys.executable)
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    log = home.parent / "honcho.log"
    with log.open("wb") as output:
        honcho = subprocess.Popen(
            [f"{programs}/honcho", "start"], stdout=output, stderr=output, cwd=ROOT, env=environment
        )
    try:
        queues = {planned.queue for planned in planned_workers(load_settings())}

        def served() -> bool:
            with suppress(UnreachableError):
                return served_queues(connect()) == queues
            return False

        until(served, "all workers of the Procfile are there")
    finally:
        honcho.send_signal(signal.SIGINT)
        honcho.wait(30)

    said = log.read_text()
    assert "Traceback" not in said
    assert "SIGKILL" not in said
    assert not Installation(home).pids()


def test_a_process_that_waits_hears_a_signal_whenever_it_comes() -> None:
    """In a process of its own: what does not hear one waits for ever."""
    program = """
import signal
from mediaflow.lifeline import Stop
stop = Stop(signal.SIGALRM)
signal.setitimer(signal.ITIMER_REAL, 0.00002, 0.00002)
for _ in range(20_000):
    stop.wait(0.00005)
    stop.is_told = False
signal.setitimer(signal.ITIMER_REAL, 0)
"""
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True, cwd=ROOT)
