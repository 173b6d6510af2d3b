"""The harness can fail: a catalog that is right is found right, and whatever is taken from it is missed."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.inspection import inspect_catalog, inspect_end, inspect_index, inspect_queues, inspect_search
from tests.chaos.pile import Pile
from tests.chaos.settle import settle
from tests.chaos.system import System
from tests.chaos.verdict import Verdict, judge_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GOOD = "(SELECT asset FROM work WHERE model = 'look' AND state = 'done' LIMIT 1)"
# What may go wrong with a catalog, and the kind of problem that must be seen.
TAMPERED = {
    f"UPDATE locations SET gone = 1 WHERE asset = {GOOD}": "lost",
    f"DELETE FROM locations WHERE asset = {GOOD}": "lost",
    f"UPDATE work SET state = 'wanted' WHERE asset = {GOOD}": "lost",
    f"DELETE FROM work WHERE model = 'chaos-words/ocr' AND asset = {GOOD}": "lost",
    f"DELETE FROM findings WHERE task = 'embed' AND asset = {GOOD}": "twice or lost",
    f"""UPDATE findings SET data = '{{"pages": []}}' WHERE task = 'look' AND asset = {GOOD}""": "wrong",
    f"DELETE FROM passages WHERE asset = {GOOD}": "twice or lost",
    f"""INSERT INTO vectors (asset, space, source, ordinal, value)
        SELECT asset, space, source, ordinal, value FROM vectors WHERE asset = {GOOD}""": "twice or lost",
    "UPDATE work SET state = 'done' WHERE state = 'failed' AND task = 'look'": "quarantine",
    "UPDATE work SET reason = 'bad luck' WHERE state = 'failed' AND task = 'look'": "reason",
    "UPDATE locations SET permanent = 0 WHERE state = 'failed'": "reason",
    f"UPDATE locations SET asset = (SELECT MAX(id) FROM assets) WHERE asset = {GOOD}": "wrong",
    "INSERT INTO locations (library, folder, name, words, size, mtime_ns, state, changed)"
    " VALUES ('default', X'2F61', X'62', '', 1, 1, 'done', 1)": "vanished",
}


@pytest.mark.long
def test_what_is_wrong_is_seen_and_what_is_right_is_not_blamed(tmp_path: Path) -> None:
    system = System(tmp_path / "chaos", random.Random("verdict"))
    pile = Pile(tmp_path / "chaos" / "pile", random.Random("verdict"))
    pile.fill(40, None)
    try:
        with system:
            assert not settle(system, pile).problems
            verdict = judge_files(system, pile)
            inspect_search(system, pile, verdict)
            inspect_index(system, verdict)
            inspect_catalog(system, verdict)
            inspect_queues(system, verdict)
            inspect_end(system, verdict)
            assert verdict.problems == {}
            for change, kind in TAMPERED.items():
                assert kind in _judge_tampered(system, pile, change).problems, change
    finally:
        system.unmount()


def _judge_tampered(system: System, pile: Pile, change: str) -> Verdict:
    catalog, whole = system.home / "catalog.sqlite", system.folder / "whole.sqlite"
    shutil.copyfile(catalog, whole)
    try:
        with closing(sqlite3.connect(catalog)) as db, db:
            db.execute(change)
        return judge_files(system, pile)
    finally:
        shutil.copyfile(whole, catalog)
