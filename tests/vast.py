"""The simulated market as a server of a test: its process, its URL and its key."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 30


@dataclass(frozen=True, slots=True)
class Vast:
    """A running market."""

    url: str
    key: str
    process: subprocess.Popen[str]

    def sdk(self, **options: Any) -> Any:
        """The unmodified SDK, pointed at this market."""
        from vastai import VastAI

        return VastAI(api_key=self.key, server_url=self.url, **options)

    def command(self, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
        """The unmodified command `vastai`, in a home of its own."""
        return subprocess.run(
            [Path(sys.executable).with_name("vastai"), "--url", self.url, "--api-key", self.key, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "COLUMNS": "200"},
            check=False,
        )


@contextmanager
def vast_market(
    *faults: str,
    seed: int = 1,
    haste: float = 100,
    credit: float = 100,
    box: Sequence[str] = (),
    key: str = "simulated",
) -> Iterator[Vast]:
    """A market in a process of its own, with these faults; `box` is the command of its boxes."""
    options = [word for fault in faults for word in ("--fault", fault)]
    options += ["--seed", str(seed), "--haste", str(haste), "--credit", str(credit), "--key", key]
    options += ["--box", shlex.join(box)] if box else []
    process = subprocess.Popen(
        [sys.executable, "-m", "mediaflow", "fleet", "simulate", "--serve", "--json", *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the market did not start"
        yield Vast(**json.loads(line), process=process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
