"""The ledger against a model of it in plain Python: whatever happens in whatever order, both say the same."""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from mediaflow.catalog import assets, locations, work
from mediaflow.catalog.database import connect
from mediaflow.catalog.failures import failures, reset
from mediaflow.catalog.locations import Candidate, Scope
from mediaflow.ops.forget import forget
from mediaflow.settings import load_settings

ALL = Scope("default")
TASKS = st.sampled_from(["ocr", "ocr", "ocr", "nsfw"])  # few keys, so that much happens to each
MODELS = st.sampled_from(["old", "old", "new"])
JOBS = st.sampled_from(["job-1", "job-2", "job-3"])
SOON = "soon"  # it will be tried again within the time that a submit waits for
LATER = "later"


@dataclass
class Row:
    """A row of the ledger, in the model."""

    state: str
    job: str | None = None
    attempts: int = 0
    permanent: bool = False
    due: str | None = None

    @property
    def settled(self) -> bool:
        return self.state in ("done", "skipped") or (self.state == "failed" and self.due is None)

    @property
    def open(self) -> bool:
        return self.state == "wanted" or (self.state == "failed" and self.due == SOON)


class Ledger(RuleBasedStateMachine):
    """Assets at one or more places, and what tasks make of them."""

    places = Bundle("places")

    @initialize(target=places)
    def begin(self) -> bytes:
        self.folder = tempfile.TemporaryDirectory()
        self.db: sqlite3.Connection = connect(Path(self.folder.name) / "catalog.sqlite")
        self.most = load_settings().retries.attempts
        self.rows: dict[tuple[int, str, str], Row] = {}
        self.at: dict[bytes, int] = {}
        self.gone: set[bytes] = set()
        self.count = 0
        return bytes(self.a_file_is_prepared("a"))

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
            self.folder.cleanup()

    # --- what happens -----------------------------------------------------------------------------

    @rule(target=places, content=st.sampled_from("ab"))
    def a_file_is_prepared(self, content: str) -> bytes:
        self.count += 1
        path = b"/pile/%d.jpg" % self.count
        file = Candidate(b"/pile", path.rpartition(b"/")[2], 10, 1, None)
        [location] = locations.enqueue(self.db, "default", 1, "job", [file])
        asset = assets.add(self.db, content, "image", 10, {})
        locations.prepared(self.db, location, asset)
        self.at[path] = asset
        return path

    @rule(place=places, task=TASKS, model=MODELS, job=JOBS, live=st.sets(JOBS))
    def it_is_wanted(self, place: bytes, task: str, model: str, job: str, live: set[str]) -> None:
        key = (self.at[place], task, model)
        row = self.rows.get(key)
        refused = row is not None and (row.settled or (row.state == "wanted" and row.job in live))
        assert work.want(self.db, *key, job, live) is not refused
        if not refused:
            self.rows[key] = Row("wanted", job, row.attempts if row else 0, row.permanent if row else False)

    @rule(place=places, task=TASKS, model=MODELS)
    def it_is_done(self, place: bytes, task: str, model: str) -> None:
        work.finish(self.db, self.at[place], task, model)
        self.rows[self.at[place], task, model] = Row("done")

    @rule(place=places, task=TASKS, model=MODELS)
    def it_does_not_apply(self, place: bytes, task: str, model: str) -> None:
        work.skip(self.db, self.at[place], task, model)
        self.rows[self.at[place], task, model] = Row("skipped")

    @rule(place=places, task=TASKS, model=MODELS, permanent=st.booleans(), blameless=st.booleans())
    def it_fails(self, place: bytes, task: str, model: str, permanent: bool, blameless: bool) -> None:
        key = (self.at[place], task, model)
        work.fail(self.db, *key, "no luck", permanent, blameless)
        self._fail(key, permanent, blameless)

    @rule(job=JOBS)
    def a_job_is_given_up(self, job: str) -> None:
        work.give_up(self.db, job, "its workers died")
        for key, row in list(self.rows.items()):
            if row.state == "wanted" and row.job == job:
                self._fail(key, permanent=False, blameless=False)

    def _fail(self, key: tuple[int, str, str], permanent: bool, blameless: bool) -> None:
        row = self.rows.get(key)
        if row and row.state in ("done", "skipped", "failed"):
            return  # a late failure undoes nothing, and one failure is not counted twice
        attempts = row.attempts + 1 if row else 1
        due = LATER if blameless else SOON if attempts < self.most else None
        self.rows[key] = Row("failed", None, attempts, permanent, None if permanent else due)

    @rule(place=places, task=TASKS, model=MODELS)
    def the_settings_name_another_model(self, place: bytes, task: str, model: str) -> None:
        work.drop_unfinished(self.db, self.at[place], task, [model])
        for key, row in list(self.rows.items()):
            if key[:2] == (self.at[place], task) and key[2] != model and row.state in ("wanted", "failed"):
                del self.rows[key]

    @rule()
    def a_person_tries_again_what_failed(self) -> None:
        reset(self.db, ALL, failures(self.db, ALL))
        there = {asset for path, asset in self.at.items() if path not in self.gone}
        for (asset, _, _), row in self.rows.items():
            if row.state == "failed" and asset in there:
                row.attempts, row.permanent, row.due = 0, False, SOON

    @rule(place=places)
    def a_file_vanishes(self, place: bytes) -> None:
        locations.mark_gone(self.db, "default", b"/pile", [place.rpartition(b"/")[2]])
        self.gone.add(place)

    @rule(place=places)
    def a_file_is_back(self, place: bytes) -> None:
        locations.mark_back(self.db, "default", b"/pile", [place.rpartition(b"/")[2]])
        self.gone.discard(place)

    @precondition(lambda self: len(self.at) > 1)  # else there is nothing left to play with
    @rule(place=consumes(places))
    def a_file_is_forgotten(self, place: bytes) -> None:
        asset = self.at.pop(place)
        self.gone.discard(place)
        last = asset not in self.at.values()
        answer = forget(self.db, Scope("default", (place,)))
        assert (answer.locations, answer.assets) == (1, int(last))
        if last:
            self.rows = {key: row for key, row in self.rows.items() if key[0] != asset}
            for table in ("work", "findings", "passages", "vectors"):
                assert not self._ask(f"SELECT 1 FROM {table} WHERE asset = ?", asset)
            assert not self._ask("SELECT 1 FROM assets WHERE id = ?", asset)

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "db"):
            return
        rows = self._ask("SELECT asset, task, model, state, job, attempts, permanent, due IS NULL FROM work")
        assert {tuple(row) for row in rows} == {
            (*key, row.state, row.job, row.attempts, row.permanent, row.due is None)
            for key, row in self.rows.items()
        }

    @invariant()
    def complete_is_when_nothing_is_open(self) -> None:
        if not hasattr(self, "db"):
            return
        there = {asset for path, asset in self.at.items() if path not in self.gone}
        rows = [row for (asset, _, _), row in self.rows.items() if asset in there]
        opened = sum(row.open for row in rows)
        answer = work.completeness(self.db)
        assert answer["complete"] is (opened == 0)
        assert answer["open"] == opened
        assert answer["failed"] == sum(row.state == "failed" and not row.open for row in rows)

    @rule(models=st.fixed_dictionaries({}, optional={"ocr": MODELS, "nsfw": MODELS}), live=st.sets(JOBS))
    def a_submit_finds_what_is_lacking(self, models: dict[str, str], live: set[str]) -> None:
        if not models:
            return
        found = work.lacking(self.db, ALL, models, {}, lambda job: job in live)
        assert sorted(file.name for file in found) == sorted(
            path.rpartition(b"/")[2]
            for path, asset in self.at.items()
            if path not in self.gone and self._lacks(asset, models, live)
        )

    def _lacks(self, asset: int, models: dict[str, str], live: set[str]) -> bool:
        for task, model in models.items():
            row = self.rows.get((asset, task, model))
            if row is None or not (row.settled or (row.state == "wanted" and row.job in live)):
                return True
        return any(
            row.state == "wanted" and row.job not in live
            for (other, task, _), row in self.rows.items()
            if other == asset and task in models
        )

    def _ask(self, query: str, *parameters: object) -> list[Any]:
        return self.db.execute(query, parameters).fetchall()


TestLedger = pytest.mark.slow(Ledger.TestCase)
TestLedger.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
