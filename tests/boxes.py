"""Boxes as tests play them: entered in the ledger, and a client that speaks to the real gateway."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from mediaflow.fleet import ledger
from mediaflow.service.certificate import SERVER_NAME, gateway_certificate
from tests.conftest import free_port
from tests.installation import ROOT, until

COLUMNS: dict[str, Any] = {
    "state": "loading", "machine": 1, "host": 1, "gpu": "RTX 4090", "region": "DE", "price": 0.4,
    "storage": 0.01, "traffic": 0.0,
}  # fmt: skip


def enter_box(label: str, **columns: Any) -> str:
    """Write a box into the ledger as the controller does; its token."""
    token, now = secrets.token_urlsafe(32), time.time()
    known = {"label": label, "token": hashlib.sha256(token.encode()).hexdigest(), "intended": now}
    known |= {"lease": now + 600, "expires": now + 3600}
    with closing(ledger.open_ledger()) as db:
        ledger.insert(db, COLUMNS | known | columns)
    return token


def change_box(label: str, **columns: Any) -> None:
    """Change a box in the ledger as the controller does."""
    with closing(ledger.open_ledger()) as db:
        ledger.update(db, label, **columns)


def box_of(label: str) -> ledger.Box:
    """What the ledger has of a box."""
    with closing(ledger.open_ledger()) as db:
        found = ledger.box(db, label)
    assert found is not None
    return found


class Client:
    """A box, as far as the gateway can tell: it believes the gateway's certificate and no other."""

    def __init__(self, port: int, token: str) -> None:
        tls = ssl.create_default_context(cadata=gateway_certificate().pem())
        self.http = httpx2.Client(
            base_url=f"https://127.0.0.1:{port}",
            verify=tls,
            headers={"authorization": f"Bearer {token}"},
            timeout=60,
            trust_env=False,
        )

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request; whatever comes is the answer."""
        return self.http.request(method, path, extensions={"sni_hostname": SERVER_NAME}, **options)

    def post(self, what: str, **body: Any) -> dict[str, Any]:
        """A request of the protocol, which must go well."""
        answer = self.ask("POST", f"/box/{what}", json=body)
        assert answer.status_code == 200, (what, answer.status_code, answer.text)
        return dict(answer.json())

    def hello(self, well: bool = True, **hardware: Any) -> dict[str, Any]:
        return self.post(
            "hello", hardware=hardware, checks=[{"name": "gpu", "ok": well, "said": "seen"}], well=well
        )

    def take(self, task: str = "look", most: int = 100) -> list[dict[str, Any]]:
        """The items that it gets; waits until there are some."""
        return list(until(lambda: self.post("take", task=task, most=most)["items"], "the box gets items"))

    def answer(self, *results: dict[str, Any]) -> int:
        """Send results; how many were accepted."""
        return int(self.post("results", results=list(results))["accepted"])


def finding(id: str, **changes: Any) -> dict[str, Any]:
    """What an honest box says of an item of the colours' tasks."""
    vector = {
        "space": "colours",
        "ordinal": 0,
        "page": None,
        "time": None,
        "value": vector_of([3**-0.5] * 3),
    }
    return {"id": id, "data": {"colour": "grey"}, "vectors": [vector], "seconds": 0.1} | changes


def vector_of(values: Any) -> str:
    """A vector's values as they are sent."""
    return base64.b64encode(np.asarray(values, dtype="<f2").tobytes()).decode()


class GatewayProcess:
    """A real gateway process on this home's queue."""

    def __init__(self, home: Path, port: int) -> None:
        self.port, self.log = port, home.parent / f"gateway-{port}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers.gateway", str(os.getpid())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                env=os.environ | {"MEDIAFLOW_FLEET__GATEWAY__PORT": str(port)},
            )  # fmt: skip
        until(self._listens, "the gateway listens")

    def client(self, token: str) -> Client:
        return Client(self.port, token)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def memory_mb(self) -> float:
        """What it holds in memory now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return "listens on" in self.log.read_text()


@contextmanager
def gateway_process(home: Path) -> Iterator[GatewayProcess]:
    """A gateway that is gone afterwards, whatever the test did."""
    running = GatewayProcess(home, free_port())
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
