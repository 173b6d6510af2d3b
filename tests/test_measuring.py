"""Measuring this machine: what its findings say of its speed."""

from __future__ import annotations

from contextlib import closing

from mediaflow.catalog.database import connect as open_catalog
from mediaflow.fleet import ledger
from mediaflow.fleet.measuring import measure_here

NOW = 1_750_000_000.0


def test_this_machine_is_measured_also_after_its_clock_was_set_back() -> None:
    with closing(open_catalog()) as catalog, closing(ledger.open_ledger()) as db:
        for number in range(30):
            asset = catalog.execute(
                "INSERT INTO assets (hash, kind, bytes, media, added) VALUES (?, 'image', 1, '{}', ?)",
                (f"{number:064x}", NOW),
            ).lastrowid
            catalog.execute(
                "INSERT INTO findings (asset, task, model, data, seconds, created)"
                " VALUES (?, 'look', 'm', '{}', 1, ?)",
                (asset, NOW - 30 + number),
            )
        ledger.put_fact(db, "measured", NOW + 7200, NOW + 7200)
        assert measure_here(catalog, db, NOW + 7)["look"] > 0
        assert ledger.fact(db, "measured") == NOW + 7
        assert measure_here(catalog, db, NOW + 8) == {}
