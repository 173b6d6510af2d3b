"""What is learned of the cost of an item."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from mediaflow.fleet import ledger
from mediaflow.fleet.cost import learned_scale
from tests.boxes import enter_box


def test_a_box_that_fetches_without_end_does_not_make_others_seem_dear(home: Path) -> None:
    enter_box("mediaflow-test-1", done=200, bytes=10**14)
    with closing(ledger.open_ledger()) as db:
        assert learned_scale(db).item_mb == 20
