"""Work that may leave while no box has it: it goes on here by priority, or waits until a set time."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mediaflow.fleet.settings import load_fleet
from mediaflow.ops.processes import planned_workers
from mediaflow.settings import load_settings
from tests.installation import Installation, answer, mediaflow, paint_many, until

pytestmark = pytest.mark.slow


def waiting(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """Leave work to boxes until the next time that clocks show this minute."""
    for name, value in {
        "ENABLED": "true",
        "FALLBACK__WORK": "wait",
        "FALLBACK__UNTIL": f"'{moment:%H:%M}'",
    }.items():
        monkeypatch.setenv(f"MEDIAFLOW_FLEET__{name}", value)
    load_fleet.cache_clear()


@pytest.mark.long
def test_work_that_may_leave_waits_until_the_set_time_and_what_must_stay_does_not(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumption = (datetime.now().astimezone() + timedelta(seconds=80)).replace(second=0, microsecond=0)
    waiting(monkeypatch, resumption)
    installation.up()
    paint_many(tmp_path / "leaves", 6)
    paint_many(tmp_path / "stays", 6, first=100)
    answer("submit", str(tmp_path / "leaves"))
    answer("submit", str(tmp_path / "stays"), "--library", "private")
    until(lambda: installation.states() == {"wanted": 6, "done": 6}, "what must stay is done")
    if datetime.now().astimezone() < resumption - timedelta(seconds=5):
        time.sleep(4)
        assert installation.states() == {"wanted": 6, "done": 6}
    until(lambda: installation.states() == {"done": 12}, "the rest is done when it is time", 120)
    assert datetime.now().astimezone() >= resumption


@pytest.mark.long
def test_who_waits_for_a_run_waits_for_the_set_time_too(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumption = (datetime.now().astimezone() + timedelta(seconds=80)).replace(second=0, microsecond=0)
    waiting(monkeypatch, resumption)
    paint_many(tmp_path / "leaves", 6)
    done = mediaflow("submit", "--wait", str(tmp_path / "leaves"), timeout=300)
    assert done.returncode == 0, done.stderr
    assert datetime.now().astimezone() >= resumption
    assert installation.states() == {"done": 6}
    installation.is_empty()


def test_without_a_key_nothing_is_rented_and_the_work_is_done_here(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    load_fleet.cache_clear()
    installation.up()
    paint_many(tmp_path / "pictures", 6)
    answer("submit", str(tmp_path / "pictures"))
    until(lambda: installation.states() == {"done": 6}, "all is done")
    assert "VAST_API_KEY" in (installation.home.parent / "up.log").read_text()
    state = answer("status")["fleet"]
    assert state["boxes"] == []
    assert "no controller runs" in state["why"]


def test_what_stands_lower_in_the_priority_gives_way(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(planned.nice == 0 for planned in planned_workers(load_settings()))
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    monkeypatch.setenv("MEDIAFLOW_FLEET__FALLBACK__PRIORITY", "[late, look]")
    load_fleet.cache_clear()
    installation.up()
    look, prepare = installation.worker("look"), installation.worker("prepare")
    assert os.getpriority(os.PRIO_PROCESS, look) > os.getpriority(os.PRIO_PROCESS, prepare)
