"""A real box: `python -m workers.box` in a home of its own, with nothing of the installation's."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mediaflow.service.certificate import gateway_certificate
from tests.installation import ROOT, Installation, until
from tests.network import Host

PATIENCE = 60.0
# Variables that a process needs to run here, and that are nobody's settings.
PLAIN = {"PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "MEDIAFLOW_MODELS"}


def birth(
    token: str, address: str, certificate: str = "", hours: float = 1, silence: float = 5
) -> dict[str, str]:
    """The variables that the controller orders a box with."""
    pem = certificate or gateway_certificate().pem()
    return {
        "MEDIAFLOW_BOX_GATEWAY": address,
        "MEDIAFLOW_BOX_TOKEN": token,
        "MEDIAFLOW_BOX_CERTIFICATE": base64.b64encode(pem.encode()).decode(),
        "MEDIAFLOW_BOX_HOURS": str(hours),
        "MEDIAFLOW_BOX_SILENCE": str(silence),
    }


class RealBox:
    """A box that runs."""

    def __init__(
        self,
        folder: Path,
        born: Mapping[str, str],
        more: Mapping[str, str] | None = None,
        host: Host | None = None,
    ) -> None:
        self.home, self.log = folder / "home", folder / "log"
        folder.mkdir(parents=True, exist_ok=True)
        plain = {name: value for name, value in os.environ.items() if name in PLAIN}
        environment = {**plain, "MEDIAFLOW_HOME": str(self.home), **born, **(more or {})}
        command = [sys.executable, "-m", "workers.box"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                host.command(*command) if host else command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    def waits_for(self, words: str, seconds: float = PATIENCE) -> None:
        """Wait until it has said so."""
        until(lambda: words in self.said(), f"the box says {words!r}: {self.said()[-2000:]}", seconds)

    def children(self) -> list[int]:
        """The processes in which its models are."""
        mark = f"MEDIAFLOW_HOME={self.home}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes()
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"workers.child" in line and mark in environment:
                found.append(int(folder.name))
        return found

    def calls(self, task: str = "look") -> list[str]:
        """The assets that the tests' task was given on the box."""
        try:
            return [line.split()[1] for line in (self.home / f"{task}.calls").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def renditions(self) -> list[Path]:
        """The renditions that lie there."""
        return list((self.home / "renditions").glob("??/*"))

    def ends(self, seconds: float = PATIENCE) -> int:
        """Wait for its own end; its exit status."""
        return self.process.wait(seconds)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """Whatever it does, it is gone."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(PATIENCE)


@contextmanager
def real_box(
    folder: Path, born: Mapping[str, str], more: Mapping[str, str] | None = None, host: Host | None = None
) -> Iterator[RealBox]:
    """A box that is gone afterwards, whatever the test did."""
    box = RealBox(folder, born, more, host)
    try:
        yield box
    finally:
        box.stop()


@contextmanager
def worker_at_home(queue: str = "look") -> Iterator[None]:
    """A worker of this machine: it does what of a box's findings is to be done here too, to compare."""
    with subprocess.Popen(
        [sys.executable, "-m", "workers", queue, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def settle(installation: Installation) -> None:
    """Have this machine check what it wants to check, and nothing is open."""
    with worker_at_home():
        installation.wait()


def assets(installation: Installation) -> list[str]:
    """The hashes of all assets, sorted."""
    return sorted(row[0] for row in installation.ask("SELECT hash FROM assets"))
