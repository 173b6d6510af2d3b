"""The doctor: finds what a crash, a full disk or a power cut left, and repairs what can be repaired.

Each module looks after one thing. All of it may run while everything else is running.
"""

from __future__ import annotations

from contextlib import closing

from mediaflow.catalog.database import catalog_path
from mediaflow.fleet.settings import load_fleet
from mediaflow.ops.doctor import catalog, ledger, places, processes, queue, renditions, snapshots, spaces
from mediaflow.ops.doctor.report import Examination, Finding


def examine(*, dry_run: bool = False, models: bool = False) -> list[Finding]:
    """Look at everything, repair what is safe to repair unless `dry_run`; `models` hashes the weights too."""
    visit = Examination(dry_run, models)
    places.examine(visit)
    if not catalog_path().exists():
        visit.ok("catalog", "there is none yet: nothing was submitted")
        db = None
    else:
        db = catalog.examine(visit)
    if db is None:
        queue.examine(visit, None)
    else:
        with closing(db):
            ledger.examine(visit, db)
            renditions.examine(visit, db)
            spaces.examine(visit, db)
            snapshots.examine(visit, db)
            queue.examine(visit, db)
    processes.examine(visit)
    _examine_fleet(visit)
    return visit.findings


def _examine_fleet(visit: Examination) -> None:
    """Where boxes may be rented: what renting needs here. `mediaflow fleet doctor` asks the market too."""
    with visit.part("fleet"):
        fleet = load_fleet()
        if fleet.enabled:
            from mediaflow.fleet.inspection import examine_here

            examine_here(visit, fleet)
