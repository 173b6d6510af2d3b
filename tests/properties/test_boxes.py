"""Boxes that are honest, lie or break off, with crashes and losses: nothing is lost, nothing false stays."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from redis import Redis

from mediaflow.catalog import provenance, work
from mediaflow.catalog.database import connect
from mediaflow.fleet.settings import load_fleet
from mediaflow.ops.heal import Healer
from mediaflow.queues import connection
from tests.household import Household, Item, Result, rented
from tests.test_distrust import PATHS, TASKS, all_is_true, lies_about, settle, truth

pytestmark = pytest.mark.slow
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
CHOICE = st.integers(0, 1_000)


class Boxes(RuleBasedStateMachine):
    """One honest box, one that lies, one that gives things back; any job may be done at any time."""

    client: Redis
    homes: Path
    count = 0

    @initialize()
    def begin(self) -> None:
        self.client.flushall()
        Boxes.count += 1
        os.environ["MEDIAFLOW_HOME"] = str(self.homes / str(Boxes.count))
        self.db: sqlite3.Connection = connect()
        self.submitted = 0
        self.fickle = 0
        labels = {"good": truth, "liar": lies_about("ocr"), "fickle": self._fickle}
        self.boxes = {f"{label}-{Boxes.count}": box for label, box in labels.items()}
        for label in self.boxes:
            rented(label)
        self.household = Household(self.db, self.client, truth, self.boxes)
        self.files_come(2)

    def _fickle(self, name: str, item: Item) -> Result | None:
        self.fickle += 1
        if self.fickle % 4 == 0:
            return None  # it is gone, with the rest of the job undone
        if self.fickle % 3 == 0:
            return {"home": "it may not leave"} if self.fickle % 2 else {"elsewhere": "out of memory"}
        return truth(name, item)

    def teardown(self) -> None:
        if not hasattr(self, "db"):
            return
        settle(self.household)
        all_is_true(self.db, PATHS[: self.submitted])
        liar = next(label for label in self.boxes if label.startswith("liar"))
        assert provenance.is_distrusted(self.db, liar) is (
            provenance.checks(self.db, liar, "ocr").differed > 0
        )
        assert not any(provenance.is_distrusted(self.db, label) for label in self.boxes if label != liar)
        self.db.close()

    @rule(count=st.integers(1, 3))
    def files_come(self, count: int) -> None:
        paths = PATHS[self.submitted : self.submitted + count]
        self.submitted += len(paths)
        if paths:
            self.household.submit(paths, TASKS)

    @rule(choice=CHOICE, count=st.integers(1, 4))
    def jobs_are_done(self, choice: int, count: int) -> None:
        for _ in range(count):
            if waiting := self.household.waiting():
                self.household.run(waiting[choice % len(waiting)])

    @rule(choice=CHOICE)
    def a_worker_dies_at_the_very_end(self, choice: int) -> None:
        if waiting := self.household.waiting():
            self.household.run(waiting[choice % len(waiting)], twice=True)

    @rule(choice=CHOICE)
    def a_job_is_lost(self, choice: int) -> None:
        if waiting := self.household.waiting():
            waiting[choice % len(waiting)].delete()

    @rule()
    def the_queue_is_emptied(self) -> None:
        self.client.flushall()

    @rule()
    def what_is_lost_is_found(self) -> None:
        Healer(missing_seconds=0).heal(self.db, self.client)
        assert work.completeness(self.db)["failed"] == 0


def test_whatever_boxes_do_all_is_done_and_true(
    redis_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_HOME", str(home))  # put back at the end
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    monkeypatch.setenv("MEDIAFLOW_FLEET__LIBRARIES", '{"default": ["ocr", "embed"]}')
    monkeypatch.setenv("MEDIAFLOW_FLEET__CHECK", "1")  # every lie is found
    load_fleet.cache_clear()
    with connection.connect() as client:
        Boxes.client, Boxes.homes = client, home
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Boxes,
            settings=settings(
                max_examples=10, stateful_step_count=12, deadline=None, suppress_health_check=SLOW
            ),
        )
