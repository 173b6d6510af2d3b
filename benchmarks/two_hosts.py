"""Two hosts for benchmarks: queue, gateway and workers on one, a box on the other, a core each."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import secrets
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from benchmarks.installation import PROJECT, PYTHON, Installation, environment
from benchmarks.quality import read_manifest
from tests.network import Link, two_hosts, why_not

PORT = 8443
PATIENCE = 120.0
PHOTOS = ("image_caption", "image_label")


@contextmanager
def pinned_hosts() -> Iterator[Link]:
    """Two hosts with a core each; this thread is on the first. Ends the program where there can be none."""
    if reason := why_not():
        sys.exit(f"This benchmark needs two hosts: {reason}.")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("This benchmark needs two cores.")
    with two_hosts(cores=(cores[0], cores[1])) as link, link.first.here():
        yield link


def photos(media: Path, to: Path, count: int) -> None:
    """Write `count` photos: the real ones again and again, encoded anew, no two with the same bytes."""
    from PIL import Image

    sources = [media / entry["path"] for entry in read_manifest(media) if entry["kind"] in PHOTOS]
    to.mkdir(parents=True)
    for number in range(count):
        with Image.open(sources[number % len(sources)]) as image:
            out = io.BytesIO()
            image.convert("RGB").save(out, "JPEG", quality=92 - number // len(sources))
        (to / f"{number:05d}.jpg").write_bytes(out.getvalue())


def address(link: Link | None) -> str:
    """Where the gateway is: on the first host, or on this machine where there are no two."""
    return link.first.address if link else "127.0.0.1"


def for_boxes(link: Link | None, **settings: str) -> dict[str, str]:
    """The variables of an installation whose gateway is on the first host."""
    return {
        "MEDIAFLOW_FLEET__ENABLED": "true",
        "MEDIAFLOW_FLEET__GATEWAY__LISTEN": address(link),
        "MEDIAFLOW_FLEET__GATEWAY__PORT": str(PORT),
        **settings,
    }


@contextmanager
def gateway(installation: Installation) -> Iterator[None]:
    """The gateway of an installation, on this thread's host."""
    log = installation.folder / "gateway.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [PYTHON, "-m", "workers.gateway"],
            env=installation.environment,
            stdout=out,
            stderr=out,
            cwd=PROJECT,
        )
    try:
        wait(lambda: "listens on" in log.read_text(), "the gateway listens", process, log)
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def box(
    installation: Installation, link: Link | None, folder: Path, label: str = "mediaflow-benchmark"
) -> Iterator[None]:
    """A box on the second host, which has said hello."""
    from mediaflow.fleet import ledger
    from mediaflow.service.certificate import gateway_certificate

    token, now = secrets.token_urlsafe(32), time.time()
    columns = {"label": label, "state": "loading", "token": hashlib.sha256(token.encode()).hexdigest()}
    numbers = {"machine": 1, "host": 1, "price": 0.4, "storage": 0.0, "traffic": 0.0, "intended": now}
    times = {"lease": now + 36_000, "expires": now + 36_000}
    with installation.here():
        with closing(ledger.open_ledger()) as db:
            ledger.insert(db, {**columns, "gpu": "none", "region": "", **numbers, **times})
        pem = gateway_certificate().pem()
    born = {
        "MEDIAFLOW_BOX_GATEWAY": f"https://{address(link)}:{PORT}",
        "MEDIAFLOW_BOX_TOKEN": token,
        "MEDIAFLOW_BOX_CERTIFICATE": base64.b64encode(pem.encode()).decode(),
        "MEDIAFLOW_BOX_HOURS": "10",
        "MEDIAFLOW_BOX_SILENCE": "10",
    }
    folder.mkdir(parents=True)
    log = folder / "log"
    with log.open("wb") as out:
        process = start_box(link, environment(folder / "home") | born, out)
    try:
        wait(lambda: "This is" in log.read_text(), "the box works", process, log)
        yield
    finally:
        process.terminate()
        process.wait()


def start_box(link: Link | None, variables: dict[str, str], out: IO[bytes]) -> subprocess.Popen[bytes]:
    """`python -m workers.box` on the second host, or on this machine."""
    command = [PYTHON, "-m", "workers.box"]
    command = link.second.command(*command) if link else command
    return subprocess.Popen(command, env=variables, stdout=out, stderr=out, cwd=PROJECT)


def done(installation: Installation) -> int:
    """Pieces of work that are done."""
    return _count(installation, "SELECT COUNT(*) FROM work WHERE state = 'done'")


def left(installation: Installation) -> int:
    """Files and pieces of work that are open."""
    files = _count(installation, "SELECT COUNT(*) FROM locations WHERE state = 'queued'")
    return files + _count(installation, "SELECT COUNT(*) FROM work WHERE state = 'wanted'")


def unprepared(installation: Installation) -> int:
    """Files that are not prepared yet."""
    return _count(installation, "SELECT COUNT(*) FROM locations WHERE state = 'queued'")


def done_by_box(installation: Installation) -> int:
    """Items that the ledger says the box did."""
    from mediaflow.fleet import ledger

    with installation.here(), closing(ledger.open_ledger()) as db:
        return sum(each.done for each in ledger.boxes(db))


def wait(condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the condition holds. Raises RuntimeError with the log when that does not come."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"not so: {what}\n{log.read_text()[-3000:]}")
        time.sleep(0.1)


def _count(installation: Installation, query: str) -> int:
    with closing(sqlite3.connect(installation.home / "catalog.sqlite", timeout=60)) as db:
        return int(db.execute(query).fetchone()[0])
