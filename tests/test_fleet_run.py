"""The controller as a process, at a simulated market over HTTP: killed, stopped, held, kept waiting."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from mediaflow.catalog.database import catalog_path
from mediaflow.fleet.labels import labels_here
from mediaflow.fleet.run import LOCK
from mediaflow.fleet.settings import load_fleet
from mediaflow.ops.lock import Lock
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
    write_key,
)
from tests.installation import mediaflow, until
from tests.vast import vast_market

pytest.importorskip("vastai")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("colours")]


def test_a_controller_rents_what_the_backlog_needs_and_leaves_nothing_when_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vast_market(box=SLEEPS) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=2)
        demand()
        with controller(tmp_path) as running:
            until(lambda: loads(2), "two boxes are ordered")
            assert sorted(labels(market)) == sorted(box.label for box in boxes())
            assert running.stop() == 0
        assert labels(market) == []
        assert boxes() == []
        assert all(box.reason for box in boxes(ended=True))


@pytest.mark.parametrize("seed", [1])
def test_a_controller_that_is_killed_at_any_moment_rents_nothing_twice_and_leaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    with vast_market(box=SLEEPS, seed=seed) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=2)
        demand()
        for _ in range(6):
            with controller(tmp_path) as running:
                time.sleep(chance.uniform(0, 2.5))
                running.stop(signal.SIGKILL)
            listed = labels(market)
            assert len(listed) == len(set(listed)) <= 2
            assert set(listed) <= {box.label for box in boxes()}
        with controller(tmp_path) as running:
            # An order that was written down and never sent is waited for for longer than that.
            until(
                lambda: sorted(labels(market)) == sorted(box.label for box in boxes() if box.contract),
                "what there is is known",
            )
            assert running.stop() == 0
        assert labels(market) == []


def test_a_controller_killed_before_its_order_was_answered_adopts_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vast_market("late", box=SLEEPS, haste=50) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=1)
        demand()
        with controller(tmp_path) as running:
            until(lambda: labels(market), "the order is carried out")
            running.stop(signal.SIGKILL)
        [box] = boxes()
        assert box.contract is None
        with controller(tmp_path):
            until(loads, "the box is adopted")
            assert labels(market) == [box.label]
            assert [box.label for box in boxes(ended=True)] == [box.label]


def test_an_order_that_was_carried_out_twice_leaves_one_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vast_market("twice", box=SLEEPS) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=1)
        demand()
        with controller(tmp_path):
            until(loads, "a box is there")
            until(lambda: len(labels(market)) == 1, "the other one is ended")


@pytest.mark.parametrize("fault", ["outage=12", "empty=3", "stale=3"])
def test_trouble_of_the_market_ends_no_box_and_orders_no_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    with vast_market(fault, box=SLEEPS) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=1)
        demand()
        with controller(tmp_path) as running:
            until(loads, "a box is there")
            time.sleep(8)
            assert len(labels(market)) == 1
            assert len(boxes(ended=True)) <= 2  # an order may have been refused before
            assert running.stop() == 0
        assert labels(market) == []


def test_two_controllers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with vast_market() as market:
        rent_at(market, monkeypatch)
        with controller(tmp_path) as running:
            second = mediaflow("fleet", "run")
            assert second.returncode == 2
            assert str(running.process.pid) in second.stderr


def test_a_catalog_that_cannot_be_read_keeps_no_controller_from_its_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vast_market(box=SLEEPS) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=1)
        demand()
        with controller(tmp_path) as running:
            until(loads, "a box is there")
            lease = boxes()[0].lease
            catalog_path().write_bytes(b"no catalog" * 1000)
            until(lambda: boxes()[0].lease > lease + 5, "its lease is renewed")
            assert running.stop() == 0
        assert labels(market) == []


def test_a_key_that_was_changed_is_used_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vast_market(box=SLEEPS) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=1)
        write_key("revoked")
        demand()
        with controller(tmp_path):
            until(lambda: "key" in state()["trouble"], "the key is refused")
            write_key(market.key)
            until(loads, "a box is ordered")


def test_a_ledger_that_somebody_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with vast_market(box=SLEEPS) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=1)
        demand()
        with controller(tmp_path) as running:
            until(loads, "a box is there")
            with closing(sqlite3.connect(Path(os.environ["MEDIAFLOW_HOME"]) / "fleet.sqlite")) as db:
                db.execute("BEGIN IMMEDIATE")
                time.sleep(6)
                db.rollback()
            lease = boxes()[0].lease
            until(lambda: boxes()[0].lease > lease, "its lease is renewed")
            assert running.process.poll() is None


@pytest.mark.parametrize("controlled", [True, False])
def test_down_ends_all_boxes_with_and_without_a_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controlled: bool
) -> None:
    with vast_market(box=SLEEPS) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=2)
        demand()
        with controller(tmp_path) as running:
            until(lambda: loads(2), "two boxes are ordered")
            if not controlled:
                running.stop(signal.SIGKILL)
            assert command("down") == {"hold": "down", "left": [], "listed": [], "unseen": ""}
            assert labels(market) == []
            assert command("status")["hold"] == "down"
        with controller(tmp_path):
            time.sleep(3)
            assert labels(market) == []  # it was asked for
            assert "resume" in state()["why"]
            command("resume")
            until(loads, "boxes are rented again")


@pytest.mark.parametrize("controlled", [True, False])
def test_drain_lets_no_box_begin_and_ends_those_that_have_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controlled: bool
) -> None:
    with vast_market(box=SLEEPS) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=1)
        demand()
        with controller(tmp_path) as running:
            until(loads, "a box is ordered")
            if not controlled:
                running.stop(signal.SIGKILL)
            command("drain")
            until(lambda: not labels(market), "it is ended")
            until(lambda: not boxes(), "and known to be")
            assert state()["hold"] == "drain"


def test_a_leak_is_found_with_what_it_costs_and_ended_by_a_controller_that_leaves_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vast_market(box=SLEEPS) as market:
        rent_at(market, monkeypatch)
        sdk = market.sdk()
        ids = [offer["id"] for offer in sdk.search_offers(limit=20)]
        lost = labels_here(load_fleet(), new=True).make("lost")
        others = [f"{PREFIX}theirs", "mediaflow-other-mine", "somebody's"]
        for number, label in enumerate([lost, *others]):
            sdk.create_instance(ids[number], image="mediaflow-box:latest", disk=500, label=label)
            time.sleep(0.1)
        until(
            lambda: (
                sum(row["actual_status"] == "running" for row in sdk.show_instances()) == 4 or time.sleep(0.1)
            ),
            "they run",
        )
        found = command("doctor", status=3)
        leaks = [finding["what"] for finding in found["findings"] if finding["check"] == "boxes"]
        assert len(leaks) == 2
        assert all("$ an hour" in leak for leak in leaks)
        assert "another installation with the same name" in next(leak for leak in leaks if others[0] in leak)
        with controller(tmp_path):
            until(lambda: lost not in labels(market), "it is ended")
        assert sorted(labels(market)) == sorted(others)
        assert command("down")["left"] == []
        assert sorted(labels(market)) == sorted(others)


def test_one_who_holds_the_lock_and_is_no_controller_keeps_down_waiting_and_not_renting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with vast_market() as market:
        rent_at(market, monkeypatch)
        with Lock(LOCK):
            assert mediaflow("fleet", "run").returncode == 2
            assert command("down")["left"] == []  # nothing was there
