"""The guard around a box: whatever becomes of what runs on it, the machine is destroyed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import ROOT, until
from tests.market_server import MarketServer, market_server

START = ROOT / "configs" / "box" / "start"
PATIENCE = 60


@pytest.fixture
def market() -> Iterator[MarketServer]:
    with market_server() as market:
        yield market


@pytest.fixture
def guarded(tmp_path: Path, market: MarketServer) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The boxes that a test has started; none is left after it."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)


def box(
    guarded: list[subprocess.Popen[bytes]], folder: Path, program: str, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """The start script, with a program in place of Python: what runs on a box may be as broken as can be."""
    instead = folder / "python"
    instead.write_text(f"#!/bin/bash\n{program}\n")
    instead.chmod(0o755)
    short = {"MEDIAFLOW_BOX_HOURS": "1", "MEDIAFLOW_BOX_SILENCE": "10"}
    short |= {"MEDIAFLOW_BOX_GRACE": "1", "MEDIAFLOW_BOX_LOOK": "0.2"}
    log = (folder / "log").open("wb")
    with log:
        process = subprocess.Popen(
            [str(START)],
            env={"PATH": os.environ["PATH"], "PYTHON": str(instead), **short, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    guarded.append(process)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("program", ["exit 0", "exit 5", "kill -SEGV $$", "nonsense-that-does-not-exist"])
def test_a_box_whose_program_ended_is_destroyed(
    tmp_path: Path, market: MarketServer, guarded: list[subprocess.Popen[bytes]], program: str
) -> None:
    process = box(guarded, tmp_path, program, market.environment)
    process.wait(PATIENCE)
    assert market.destroyed()


@pytest.mark.slow
def test_a_box_whose_gateway_is_silent_is_destroyed_though_its_program_hangs(
    tmp_path: Path, market: MarketServer, guarded: list[subprocess.Popen[bytes]]
) -> None:
    hangs = "trap '' TERM; while true; do sleep 1; done"
    process = box(guarded, tmp_path, hangs, {**market.environment, "MEDIAFLOW_BOX_SILENCE": "0.02"})
    process.wait(PATIENCE)
    assert market.destroyed()
    assert "nothing was heard" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_box_that_hears_words_is_left_alone_until_its_hours_are_over(
    tmp_path: Path, market: MarketServer, guarded: list[subprocess.Popen[bytes]]
) -> None:
    hears = 'while true; do touch "$MEDIAFLOW_BOX_HEARTBEAT"; sleep 0.2; done'
    hours = {"MEDIAFLOW_BOX_SILENCE": "0.02", "MEDIAFLOW_BOX_HOURS": "0.002"}
    started = time.monotonic()
    process = box(guarded, tmp_path, hears, {**market.environment, **hours})
    process.wait(PATIENCE)
    assert time.monotonic() - started > 0.002 * 3600
    assert market.destroyed()
    assert "its hours are over" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_box_without_limits_has_limits(
    tmp_path: Path, market: MarketServer, guarded: list[subprocess.Popen[bytes]]
) -> None:
    nonsense = {"MEDIAFLOW_BOX_HOURS": "-1; touch /tmp/x", "MEDIAFLOW_BOX_SILENCE": "$(exit)"}
    process = box(guarded, tmp_path, "echo begun; sleep 2", {**market.environment, **nonsense})
    process.wait(PATIENCE)
    assert "begun" in (tmp_path / "log").read_text()
    assert "ended with 0" in (tmp_path / "log").read_text()
    assert market.destroyed()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_box_that_is_told_to_stop_is_destroyed(
    tmp_path: Path, market: MarketServer, guarded: list[subprocess.Popen[bytes]], number: signal.Signals
) -> None:
    process = box(guarded, tmp_path, "echo begun; exec sleep 100", market.environment)
    until(lambda: "begun" in (tmp_path / "log").read_text(), "the program runs")
    process.send_signal(number)
    process.wait(PATIENCE)
    assert market.destroyed()


@pytest.mark.slow
def test_the_guard_asks_until_the_machine_is_destroyed(
    tmp_path: Path, market: MarketServer, guarded: list[subprocess.Popen[bytes]]
) -> None:
    market.answers = [500, 429, 503]
    process = box(guarded, tmp_path, "exit 0", market.environment)
    process.wait(PATIENCE)
    assert len(market.asked) == 4
    assert market.destroyed()


@pytest.mark.slow
def test_no_secret_is_in_the_guards_arguments_or_its_log(
    tmp_path: Path, market: MarketServer, guarded: list[subprocess.Popen[bytes]]
) -> None:
    market.answers = [500]
    process = box(guarded, tmp_path, "exit 0", {**market.environment, "MEDIAFLOW_BOX_TOKEN": "a-secret"})
    seen = set()
    while process.poll() is None:
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.add(line.read_bytes())
            except OSError:
                continue
    assert any(b"curl" in line and b"4711" in line for line in seen)
    assert not any(b"the-box's-own-key" in line for line in seen)
    assert "secret" not in (tmp_path / "log").read_text()
    assert "own-key" not in (tmp_path / "log").read_text()


def test_without_a_container_there_is_nothing_to_destroy(
    tmp_path: Path, market: MarketServer, guarded: list[subprocess.Popen[bytes]]
) -> None:
    process = box(guarded, tmp_path, "exit 0", {"VAST_URL": market.url})
    assert process.wait(PATIENCE) == 0
    assert market.asked == []
