"""The running installation: its home, its server, its `up` that is started again, and commands to it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from mediaflow.settings import load_settings
from tests.chaos.account import Account, Kill
from tests.chaos.clock import Clock
from tests.chaos.processes import Process, end_all, processes, send
from tests.chaos.server import Server, kinds

ROOT = Path(__file__).resolve().parents[2]
DISK_MB = 256
COMMAND_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended, and whether the harness killed it; `began` and `ended` of the monotonic clock."""

    words: tuple[str, ...]
    status: int
    killed: bool
    output: str
    error: str
    began: float
    ended: float


class System:
    """One installation in `folder`. Used in a `with` statement: at its end nothing of it runs."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.account_file = folder / "account"
        self.mounted = _mount(self.home)
        self.clock = Clock(folder)
        self.server = Server(chance.choice(kinds()), folder / "server") if chance.random() < 0.5 else None
        self.kills: list[Kill] = []
        self.stopped_for_good: set[int] = set()
        self.killed: set[int] = set()
        self._up: subprocess.Popen[bytes] | None = None
        self._keeping = threading.Event()
        self._ended = False
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    @property
    def layout(self) -> str:
        """Which server it uses, in words."""
        return f"outside {self.server.kind} behind a proxy" if self.server else "embedded Valkey"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes: nothing of this process's own mediaflow."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDIAFLOW_")}
        own = {
            "MEDIAFLOW_HOME": str(self.home),
            "MEDIAFLOW_CONFIGS": str(Path(__file__).with_name("configs")),
        }
        if self.server:
            own["MEDIAFLOW_REDIS_URL"] = self.server.url
        return kept | own | self.clock.environment | {"CHAOS_ACCOUNT": str(self.account_file)}

    def __enter__(self) -> System:
        self._keeping.set()
        self._keeper.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.halt()
        self._ended = True
        self._keeping.set()
        self._keeper.join(10)
        end_all(self.home)
        if self.server:
            self.server.close()

    # --- up, and what systemd does for it ------------------------------------------------------

    def halt(self) -> None:
        """Start `up` no more until `go_on`."""
        self._keeping.clear()

    def go_on(self) -> None:
        """Start `up` again whenever it has ended."""
        self._keeping.set()

    def _keep(self) -> None:
        while not self._ended:
            self._keeping.wait()
            if not self._ended and (self._up is None or self._up.poll() is not None):
                time.sleep(0.5)
                if self._keeping.is_set() and not self._ended:
                    self._start_up()
            time.sleep(0.2)

    def _start_up(self) -> None:
        with (self.folder / "up.log").open("ab") as log:
            self._up = subprocess.Popen(
                [sys.executable, "-m", "mediaflow", "up"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=self.environment,
                start_new_session=True,
            )  # fmt: skip

    # --- its parts -------------------------------------------------------------------------------

    def processes(self, *roles: str) -> list[Process]:
        """Those with one of these roles (all, if none is named) that were not stopped for good."""
        found = [process for process in processes(self.home) if process.pid not in self.stopped_for_good]
        return [process for process in found if not roles or process.role in roles]

    def kill(self, process: Process) -> bool:
        """kill -9."""
        self.killed.add(process.pid)
        done = send(process.pid, signal.SIGKILL)
        if done and process.role.startswith("worker"):
            self.kills.append(Kill(time.monotonic(), process.pid, process.role))
        return done

    def power_cut(self) -> int:
        """kill -9 of everything at once, the server too; returns how many there were. `up` starts no more."""
        self.halt()
        everything = processes(self.home)
        if self.server:
            self.server.kill()
        # Commands may begin at this very moment: they are killed too, and must not be blamed for it.
        end_all(self.home, about_to_die=self.killed.add)
        self.stopped_for_good.clear()
        return len(everything)

    def client(self) -> Redis:
        """A connection to its server, past the proxy."""
        if self.server:
            return self.server.client()
        url = json.loads((self.home / "run" / "valkey.json").read_text())["url"]
        return Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2)

    def account(self) -> Account:
        """What the tasks have done until now."""
        return Account.read(self.account_file)

    @property
    def trace(self) -> Path:
        """What a job that must not be run would leave."""
        return self.folder / "was-run"

    # --- its command line --------------------------------------------------------------------------

    def run(self, *words: str, stdin: str = "", seconds: float = COMMAND_SECONDS) -> Answer:
        """Run a command; one that does not end is ended, and has the status of that."""
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "mediaflow", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
            env=self.environment,
        )  # fmt: skip
        try:
            output, error = process.communicate(stdin.encode(), seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            output, error = process.communicate()
        said = [text.decode(errors="replace") for text in (output, error)]
        status, killed = process.returncode, process.pid in self.killed
        return Answer(words, status, killed, said[0], said[1], began, time.monotonic())

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Its home and settings for code of mediaflow that runs in this process."""
        before = dict(os.environ)
        os.environ.update(
            {name: value for name, value in self.environment.items() if name.startswith("MEDIAFLOW_")}
        )
        if not self.server:
            os.environ.pop("MEDIAFLOW_REDIS_URL", None)
        load_settings.cache_clear()
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            load_settings.cache_clear()

    def unmount(self) -> None:
        """Give the small disk back."""
        if self.mounted:
            subprocess.run(["umount", str(self.home)], check=False)
            self.mounted = False


def complaint(answer: Answer, allowed: Sequence[int]) -> str:
    """What is wrong with how a command ended; empty when nothing is."""
    if "Traceback (most recent call last)" in answer.error + answer.output:
        return "a traceback"
    if answer.killed and answer.status == -signal.SIGKILL:
        return ""
    if answer.status not in allowed:
        return f"status {answer.status}, not one of {list(allowed)}"
    if answer.status >= 2 and not re.match(r"\S", answer.error):
        return f"status {answer.status} without a word"
    if "--debug says where" in answer.error:
        return "an error that nobody foresaw"
    return ""


def _mount(home: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "chaos", str(home)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
