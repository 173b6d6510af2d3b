"""The boxes of the simulated market as real processes of this machine, and what faults do to them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from mediaflow.fleet.simulator.account import Account
from mediaflow.fleet.simulator.rented import Rented
from mediaflow.lifeline import end_with_parent

ROOT = Path(__file__).resolve().parents[3]
BOX = (sys.executable, "-m", "workers.box")
BEAT = 0.1
# Of every so many beats a slow box works one.
SLOW_BEATS = 5
SKEW_SECONDS = 5 * 3600
MOST_LOG = 200_000


class Processes:
    """A process for each box that runs: started when it has loaded, killed when it is stopped or ended."""

    def __init__(self, market: Account, folder: Path, url: str, command: Sequence[str]) -> None:
        self.market = market
        self.folder = folder
        self.command = tuple(command)
        self.url = url  # of the market, for the boxes
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._stopped: set[int] = set()
        self._beats = 0

    async def drive(self) -> None:
        """Play the boxes until cancelled."""
        while True:
            await anyio.sleep(BEAT)
            self._beats += 1
            self.market.advance(time.time())
            for box in list(self.market.boxes.values()):
                self._follow(box)

    def end(self) -> None:
        """Leave nothing running, and no folder of a box."""
        for contract in list(self._running):
            self._kill(contract)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self, box: Rented) -> str:
        """What a box's process has said."""
        with suppress(OSError):
            return self._log_path(box.contract).read_bytes()[-MOST_LOG:].decode(errors="replace")
        return ""

    def _follow(self, box: Rented) -> None:
        """Make the process of a box what the market says of it."""
        process = self._running.get(box.contract)
        if not box.running:
            if process is not None:
                self._kill(box.contract)
        elif process is None:
            self._running[box.contract] = self._begin(box)
        elif process.poll() is not None:
            del self._running[box.contract]
            box.status = "exited"
            with self._log_path(box.contract).open("a") as log:
                print(f"The box's process ended with status {process.returncode}.", file=log)
        else:
            silent = box.fate.silent is not None and box.ran >= box.fate.silent
            self._hold(process, silent or (box.fate.slow and self._beats % SLOW_BEATS > 0))

    def _hold(self, process: subprocess.Popen[bytes], hold: bool) -> None:
        """Stop or continue a process and its children."""
        if hold != (process.pid in self._stopped):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGSTOP if hold else signal.SIGCONT)
            (self._stopped.add if hold else self._stopped.discard)(process.pid)

    def _begin(self, box: Rented) -> subprocess.Popen[bytes]:
        home = self.folder / str(box.contract)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = list(self.command)
        if (box.fate.wrong or box.fate.skew) and command[1:2] == ["-m"]:
            played = [command[0], "-m", "mediaflow.fleet.simulator.played"]
            played += ["--lies"] if box.fate.wrong else []
            played += ["--ahead", str(SKEW_SECONDS)] if box.fate.skew else []
            command = played + command[2:]
        with self._log_path(box.contract).open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self._environment(box, home),
                start_new_session=True,
                preexec_fn=_lifeline(os.getpid()),
            )

    def _environment(self, box: Rented, home: Path) -> dict[str, str]:
        """What the order says, what the market adds, and of this machine's no more than a program needs."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "MEDIAFLOW_MODELS") if name in os.environ}
        ordered = {name: value for name, value in box.environment.items() if not name.startswith("-")}
        market = {"CONTAINER_ID": str(box.contract), "CONTAINER_API_KEY": box.key, "VAST_URL": self.url}
        places = {"HOME": str(home), "MEDIAFLOW_HOME": str(home / "mediaflow"), "PYTHONUNBUFFERED": "1"}
        return kept | places | ordered | market

    def _kill(self, contract: int) -> None:
        process = self._running.pop(contract)
        self._stopped.discard(process.pid)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(self.folder / str(contract), ignore_errors=True)

    def _log_path(self, contract: int) -> Path:
        return self.folder / f"{contract}.log"


def _lifeline(parent: int) -> Callable[[], None]:
    return lambda: end_with_parent(signal.SIGKILL, parent)
