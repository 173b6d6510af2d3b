"""Ending all boxes: whatever is missing, none is left unseen, and nobody is told that none is."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mediaflow.fleet import ledger, vast
from mediaflow.fleet import run as running
from mediaflow.fleet.account import Account
from mediaflow.fleet.key import key_path
from mediaflow.fleet.labels import labels_here
from mediaflow.fleet.market import MarketError
from mediaflow.fleet.settings import load_fleet
from mediaflow.ops import up
from mediaflow.ops.lock import Lock
from mediaflow.ops.running import DOWN_SECONDS
from tests.boxes import enter_box
from tests.controllers import (
    PREFIX,
    SLEEPS,
    boxes,
    command,
    controller,
    demand,
    labels,
    loads,
    rent_at,
    state,
)
from tests.disks import Disk, small_disk
from tests.installation import ROOT, Installation, mediaflow, until
from tests.vast import Vast, vast_market

pytest.importorskip("vastai")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("colours")]

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """`down` in this process gives up soon."""
    monkeypatch.setattr(running, "DOWN_SECONDS", 4.0)


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vast]:
    """A market at which this home rents one box at most."""
    with vast_market(box=SLEEPS) as found:
        rent_at(found, monkeypatch, CAPS__BOXES=1)
        yield found


def rent_stray(market: Vast) -> int:
    """A box that this home ordered and that is in no ledger; its contract."""
    label = labels_here(load_fleet(), new=True).make("stray")
    sdk = market.sdk()
    offer = sdk.search_offers(limit=1)[0]["id"]
    return int(sdk.create_instance(offer, image="x", disk=20, label=label)["new_contract"])


def leave_box(folder: Path) -> ledger.Box:
    """Let a controller rent a box, and be killed."""
    demand()
    with controller(folder) as there:
        until(loads, "a box is ordered")
        there.stop(signal.SIGKILL)
    return boxes()[0]


def test_down_at_a_market_that_does_not_answer_does_not_say_that_none_is_left(
    monkeypatch: pytest.MonkeyPatch, market: Vast, impatient: None
) -> None:
    monkeypatch.setenv("VAST_URL", NOBODY)
    end = running.down(load_fleet(), print)
    assert (end.boxes, end.listed, end.is_clear) == ([], [], False)
    assert "could not be asked" in " ".join(end.sentences())
    assert "mediaflow fleet down" in " ".join(end.sentences())


def test_down_names_what_the_market_lists_still(
    monkeypatch: pytest.MonkeyPatch, market: Vast, impatient: None
) -> None:
    def refuse(*_: object) -> None:
        raise MarketError("no")

    contract = rent_stray(market)
    monkeypatch.setattr(Account, "destroy", refuse)
    end = running.down(load_fleet(), print)
    assert (end.boxes, end.listed) == ([], [contract])
    assert f"contract {contract}" in " ".join(end.sentences())


def test_down_by_a_controller_looks_at_the_market_too(market: Vast, impatient: None) -> None:
    contract = rent_stray(market)
    with Lock(running.LOCK):  # of a controller that does nothing
        assert running.down(load_fleet(), print).listed == [contract]
        key_path().unlink()
        assert "no API key" in running.down(load_fleet(), print).unseen


def test_a_stopped_controller_that_could_not_look_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, market: Vast
) -> None:
    monkeypatch.setenv("VAST_URL", NOBODY)
    with controller(tmp_path) as there:
        assert there.stop() == 3
        assert "could not be asked" in there.log.read_text()


def test_down_ends_boxes_of_a_ledger_that_is_lost(tmp_path: Path, market: Vast) -> None:
    leave_box(tmp_path)
    for path in ledger.ledger_path().parent.glob("fleet.sqlite*"):
        path.unlink()
    assert command("down") == {"hold": "down", "left": [], "listed": [], "unseen": ""}
    assert labels(market) == []


@pytest.mark.parametrize("name", ["down", "drain"])
def test_boxes_are_ended_without_an_address_of_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, market: Vast, name: str
) -> None:
    leave_box(tmp_path)
    monkeypatch.setenv("MEDIAFLOW_FLEET__GATEWAY__ADDRESS", "''")
    assert command(name)["left"] == []
    assert labels(market) == []


def test_what_cannot_be_ended_for_want_of_a_key_is_not_held_either(tmp_path: Path, market: Vast) -> None:
    leave_box(tmp_path)
    key_path().unlink()
    for name in ("down", "drain"):
        done = mediaflow("fleet", name)
        assert done.returncode == 2
        assert "VAST_API_KEY" in done.stderr
        assert state()["hold"] is None


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colours: Path) -> Iterator[Disk]:
    """A disk of some megabytes with this test's home on it."""
    with small_disk(tmp_path / "disk") as found:
        monkeypatch.setenv("MEDIAFLOW_HOME", str(found.home))
        yield found


@pytest.mark.parametrize("ended_by", ["the controller", "down"])
def test_boxes_are_ended_when_the_disk_is_full(disk: Disk, market: Vast, ended_by: str) -> None:
    demand()
    with controller(disk.folder) as there:  # its log is on the full disk too
        until(loads, "a box is ordered")
        if ended_by == "down":
            there.stop(signal.SIGKILL)
        disk.fill()
        if ended_by == "down":
            assert mediaflow("fleet", "down").returncode == 0
        else:
            there.stop()
    assert labels(market) == []


def test_down_with_a_ledger_that_somebody_holds_ends_boxes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, market: Vast
) -> None:
    leave_box(tmp_path)
    monkeypatch.setattr(running, "ENDING_BUSY_MS", 100)
    with closing(ledger.open_ledger()) as db:
        db.execute("BEGIN IMMEDIATE")
        there = running.Running(load_fleet(), print)
        assert there.end_all(60).is_clear
        db.execute("ROLLBACK")
    assert labels(market) == []


def test_a_drain_that_is_interrupted_says_what_is_left_and_never_orders(tmp_path: Path, market: Vast) -> None:
    box = leave_box(tmp_path)
    with closing(ledger.open_ledger()) as db:  # it has something in hand
        ledger.update(db, box.label, hello=time.time(), seen=time.time(), state="working", in_hand=1)
    drain = subprocess.Popen(
        [sys.executable, "-m", "mediaflow", "fleet", "drain"], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        until(lambda: boxes()[0].state == "draining", "it drains")
        command("resume")
        time.sleep(5)
        assert [box.label for box in boxes()] == labels(market) == [box.label]
        drain.send_signal(signal.SIGINT)
        said = drain.communicate(timeout=60)[1]
    finally:
        with suppress(ProcessLookupError):
            drain.kill()
    assert drain.returncode == 3, said
    assert "1 box left" in said
    assert "mediaflow fleet down" in said


def test_boxes_are_destroyed_before_the_list_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, market: Vast
) -> None:
    def refuse(*_: object) -> None:
        raise MarketError("no")

    leave_box(tmp_path)
    monkeypatch.setattr(Account, "instances", refuse)
    end = running.Running(load_fleet(), print).end_all(2)
    assert labels(market) == []
    assert not end.is_clear  # nobody has seen it


def test_down_and_a_stopped_up_name_boxes_that_may_cost_money(installation: Installation) -> None:
    enter_box(f"{PREFIX}aaaa1111", contract=7)
    installation.up()
    assert installation.stop() == 0
    said = (installation.home.parent / "up.log").read_text().splitlines()[-1]
    assert said == f"stopped; box {PREFIX}aaaa1111 may still cost money: mediaflow fleet down"
    done = mediaflow("down")
    assert done.returncode == 3
    assert f"{PREFIX}aaaa1111" in done.stderr
    with Lock(running.LOCK):  # a controller watches it
        assert mediaflow("down").returncode == 0


def test_up_waits_for_the_controller_to_end_its_boxes() -> None:
    under_way = vast.ORDER_SECONDS
    assert running.STOP_SECONDS + under_way < up.FLEET_STOP_SECONDS
    assert up.STOP_SECONDS + up.FLEET_STOP_SECONDS < DOWN_SECONDS
