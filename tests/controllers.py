"""What tests of the fleet's commands share: a home whose fleet rents at a simulated market, and a backlog."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from mediaflow.catalog import runs
from mediaflow.catalog.database import connect as open_catalog
from mediaflow.fleet import ledger
from mediaflow.fleet.key import key_path
from mediaflow.fleet.settings import load_fleet
from mediaflow.service.certificate import gateway_certificate
from mediaflow.service.server import Server
from tests.conftest import free_port
from tests.installation import ROOT, answer, until
from tests.vast import Vast

PREFIX = "mediaflow-test-"
# A box that says nothing, and costs.
SLEEPS = ("sleep", "600")


def rent_at(market: Vast, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Let the fleet of this home rent at a market; `CAPS__BOXES=1` and the like change its settings."""
    known: dict[str, object] = {
        "ENABLED": "true",
        "IMAGE": "registry.example/mediaflow-box",
        "GATEWAY__PORT": free_port(),
        "DEADLINE_HOURS": 1,
        "SILENCE_MINUTES": 2,
    }
    for name, value in (known | changes).items():
        monkeypatch.setenv(f"MEDIAFLOW_FLEET__{name}", str(value))
    monkeypatch.setenv("VAST_URL", market.url)
    load_fleet.cache_clear()
    write_key(market.key)


def write_key(key: str) -> None:
    """Put the key where its owner alone can read it."""
    key_path().write_text(key)
    key_path().chmod(0o600)


def demand(items: int = 2000) -> None:
    """Let so much work wait that this machine alone would be late, and a box has enough to do."""
    now = time.time()
    with closing(ledger.open_ledger()) as db:
        ledger.measured(db, "here", "look", 1, 100, now)
        ledger.measured(db, "RTX 3060", "look", 1, 10, now)
    with closing(open_catalog()) as db:
        db.execute("BEGIN")
        run = runs.begin(db, "default", (b"/x",), ["look"])
        for number in range(items):
            asset = db.execute(
                "INSERT INTO assets (hash, kind, bytes, media, added) VALUES (?, 'image', 1, '{}', ?)",
                (f"{number:064x}", now),
            ).lastrowid
            db.execute(
                "INSERT INTO locations (library, folder, name, words, size, mtime_ns, asset, state, run,"
                " changed) VALUES ('default', ?, ?, '', 1, 1, ?, 'done', ?, ?)",
                (b"/x", f"{number}".encode(), asset, run, now),
            )
            db.execute(
                "INSERT INTO work (asset, task, model, state, changed) VALUES (?, 'look', 'm', 'wanted', ?)",
                (asset, now),
            )
        db.execute("COMMIT")


def loads(count: int = 1) -> bool:
    """Whether so many boxes were ordered and are there."""
    return sum(box.contract is not None and box.state == "loading" for box in boxes()) >= count


class Controlling:
    """`mediaflow fleet run` as a process."""

    def __init__(self, log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mediaflow", "fleet", "run"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
            )

    def runs(self) -> bool:
        """Whether it has taken its place."""
        assert self.process.poll() is None, self.log.read_text()
        return state()["controller"] == self.process.pid

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, and wait for its end; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(90)


@contextmanager
def gateway() -> Iterator[None]:
    """What a controller sees of a gateway: it answers with this home's certificate."""

    async def silence(_scope: Scope, _receive: Receive, _send: Send) -> None: ...

    server = Server(silence, "127.0.0.1", load_fleet().gateway.port, gateway_certificate())
    server.start()
    try:
        yield
    finally:
        server.stop()


@contextmanager
def controller(folder: Path, *, serves: bool = True) -> Iterator[Controlling]:
    """A controller that runs, beside a gateway where it `serves`; it is killed where the test leaves it."""
    with gateway() if serves else nullcontext():
        running = Controlling(folder / "fleet.log")
        try:
            until(running.runs, "the controller runs")
            yield running
        finally:
            with suppress(ProcessLookupError):
                running.process.kill()
            running.process.wait()


def state() -> dict[str, Any]:
    """What `mediaflow fleet status` answers, without a process for it."""
    from mediaflow.fleet.state import fleet_state

    with closing(ledger.open_ledger()) as db:
        return fleet_state(db, load_fleet())


def boxes(*, ended: bool = False) -> list[ledger.Box]:
    """The boxes of the ledger."""
    with closing(ledger.open_ledger()) as db:
        return ledger.boxes(db, ended_since=0 if ended else None)


def labels(market: Vast) -> list[str]:
    """The labels of what is rented, as the market has it."""
    import requests

    while True:
        try:
            return [row["label"] for row in market.sdk(retry=1).show_instances()]
        except requests.RequestException:
            time.sleep(0.1)


def command(*arguments: str, status: int = 0) -> Any:
    """What a command of the fleet answers in JSON."""
    return answer("fleet", *arguments, status=status)


def processes_with(secret: str) -> list[str]:
    """The command lines of this machine that hold a secret."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) != os.getpid():
            with suppress(OSError):
                line = (folder / "cmdline").read_bytes()
                if secret.encode() in line:
                    found.append(line.decode(errors="replace"))
    return found
