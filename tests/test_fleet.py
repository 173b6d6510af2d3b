"""The whole fleet, from submit to results: boxes of a played market appear, do the heavy queue, and go."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mediaflow.fleet import ledger
from mediaflow.fleet.settings import load_fleet
from tests.conftest import free_port
from tests.installation import Installation, answer, paint_many, until
from tests.vast import Vast, vast_market

pytestmark = pytest.mark.slow
# What is waited for in minutes on a real market is here in seconds.
PATIENCE = 240.0


class Fleet:
    """An installation that rents boxes of a played market."""

    def __init__(self, installation: Installation, market: Vast, folder: Path) -> None:
        self.installation, self.market, self.folder = installation, market, folder

    def submit(self, count: int, colour: str = "cyan") -> None:
        """Cyan takes half a second: enough to see what happens meanwhile."""
        paint_many(self.folder / "pictures", count, colour)
        answer("submit", str(self.folder / "pictures"))

    def boxes(self) -> list[ledger.Box]:
        """All boxes there ever were."""
        with closing(ledger.open_ledger()) as db:
            return ledger.boxes(db, ended_since=0)

    def instances(self) -> list[dict[str, Any]]:
        """What the market bills for now, by the unmodified SDK."""
        return list(self.market.sdk().show_instances())

    def is_done(self, count: int) -> bool:
        return self.installation.states() == {"done": count}

    def did(self) -> dict[str, int]:
        """How many findings are of which box; of none: of this machine."""
        return dict(self.installation.ask("SELECT COALESCE(box, ''), COUNT(*) FROM work GROUP BY box"))

    def events(self) -> str:
        """What the ledger tells of."""
        with closing(ledger.open_ledger()) as db:
            return "\n".join(row["what"] for row in db.execute("SELECT what FROM events ORDER BY id"))


def a_minute_ago() -> datetime:
    return datetime.now().astimezone() - timedelta(minutes=1)


@contextmanager
def fleet(
    installation: Installation,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    faults: Sequence[str] = (),
    **settings: str,
) -> Iterator[Fleet]:
    with vast_market(*faults) as market:
        port = free_port()
        variables = {
            "VAST_URL": market.url,
            "VAST_API_KEY": market.key,
            "MEDIAFLOW_FLEET__ENABLED": "true",
            "MEDIAFLOW_FLEET__LIBRARIES": "{default: [look]}",
            "MEDIAFLOW_FLEET__GATEWAY": f"{{listen: 127.0.0.1, port: {port}, address: 127.0.0.1}}",
            "MEDIAFLOW_FLEET__DEADLINE_HOURS": "0.001",
            "MEDIAFLOW_FLEET__SILENCE_MINUTES": "2",
            "MEDIAFLOW_FLEET__STUCK_MINUTES": "0.7",
            "MEDIAFLOW_FLEET__IDLE_MINUTES": "0.25",
            # What boxes may do is left to them for a day, nearly: here is done what must be done here.
            "MEDIAFLOW_FLEET__FALLBACK": f"{{work: wait, until: '{a_minute_ago():%H:%M}'}}",
        }
        for name, value in (variables | settings).items():
            monkeypatch.setenv(name, value)
        load_fleet.cache_clear()
        with closing(
            ledger.open_ledger()
        ) as db:  # this machine was slow of late: alone it would be days late
            ledger.measured(db, "here", "look", 1, 3600, time.time())
        installation.queues = {"prepare", "index"}
        installation.up()
        yield Fleet(installation, market, folder)
        installation.stop()
        assert not Fleet(installation, market, folder).instances(), "a box outlived `up`"


@pytest.mark.long
def test_boxes_appear_do_the_heavy_queue_and_go(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"MEDIAFLOW_TASKS__LOOK__WORKERS": "0", "MEDIAFLOW_FLEET__CHECK": "0"}
    with fleet(installation, tmp_path, monkeypatch, (), **alone) as running:
        assert not running.instances()
        running.submit(40)
        until(running.instances, "a box is rented", PATIENCE)
        until(lambda: sum(running.did().values()) == 40 and "" not in running.did(), "boxes do all", PATIENCE)
        assert not installation.calls(), "nothing of it was done here"


# What each fault makes of the fleet, as a pattern for its ledger's words; of some only the end is asked.
FAULTS = {
    "late gone 429=2 5xx=2 stale=2 skew": "adopted",
    "twice": "nobody",
    "stuck": "stuck loading",
    "exited": "ending: exited",
    "offline": "ending: offline",
    "outbid": "ending: outbid",
    "silent": "ending: it (has said nothing|runs and has not said hello)",
    "wrong": "not true",
    "slow empty=2": "",
    "credit=40": "",
}


@pytest.mark.long
@pytest.mark.parametrize("faults", FAULTS)
def test_all_is_done_and_no_box_is_left_whatever_happens_to_boxes(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: str
) -> None:
    with fleet(installation, tmp_path, monkeypatch, faults.split()) as running:
        running.submit(40)
        until(lambda: re.search(FAULTS[faults], running.events()), f"{faults} happened", PATIENCE)
        installation.wait(PATIENCE)
        assert running.is_done(40)
        assert running.did().keys() - {""}, "boxes did some of it"
        until(lambda: not running.instances(), "no box is left", PATIENCE)
        until(lambda: all(box.state == "ended" for box in running.boxes()), "the ledger knows it", PATIENCE)
        shown = answer("fleet", "status")
        assert shown["boxes"] == []
