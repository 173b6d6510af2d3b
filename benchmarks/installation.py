"""An installation of mediaflow that a benchmark has to itself, and goes with it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
MEDIAFLOW = str(Path(sys.executable).with_name("mediaflow"))
WIDTH = 80


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended: seconds by the clock and of processor time, most megabytes held."""

    status: int
    output: str
    seconds: float
    cpu_seconds: float
    peak_mb: float


class Installation:
    """A fresh MEDIAFLOW_HOME in a temporary folder, with the models of this clone and no other settings.

    Used in a `with` statement: at its end what runs is stopped and the folder removed. A `home` that is
    named is used as it is, and stays.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, home: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mediaflow-benchmark-"))
        self.home = home.absolute() if home else self.folder / "home"
        self.environment = environment(self.home) | dict(settings or {})

    def __enter__(self) -> Installation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run("down", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments: str, stdin: str | None = None, check: bool = True) -> Finished:
        """Run `mediaflow ARGUMENTS`; RuntimeError when it fails (files that fail are no failure)."""
        return run([MEDIAFLOW, *arguments], self.environment, stdin, check)

    @contextmanager
    def here(self) -> Iterator[None]:
        """Its home for code of mediaflow that runs in this process."""
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    @contextmanager
    def up(self, *parts: str) -> Iterator[int]:
        """`mediaflow up PARTS` in the background, as its pid; with the part `queue`, only the queue."""
        with (self.folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                [MEDIAFLOW, "up", *parts], env=self.environment, stdout=log, stderr=log, cwd=self.folder
            )
        sign = self.home / "run" / ("valkey.json" if parts else "ready")
        try:
            deadline = time.monotonic() + 60
            while not sign.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("mediaflow up: " + (self.folder / "up.log").read_text())
                time.sleep(0.05)
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def environment(home: Path) -> dict[str, str]:
    """This process's variables with a home of its own, the models of this clone, and no settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDIAFLOW_")}
    models = os.environ.get("MEDIAFLOW_MODELS") or str(PROJECT / ".models")
    return kept | {"MEDIAFLOW_HOME": str(home), "MEDIAFLOW_MODELS": models}


def run(
    command: Sequence[str], environment: Mapping[str, str], stdin: str | None = None, check: bool = True
) -> Finished:
    """Run a command and measure it. Raises RuntimeError with what it said when its status is over 1."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write((stdin or "").encode())
        given.seek(0)
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(environment), stdin=given, stdout=out, stderr=err, cwd=PROJECT
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C: it must not go on alone
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if check and process.returncode not in (0, 1):
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {err.read().decode()}")
        return Finished(
            process.returncode,
            out.read().decode(),
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024,
        )


def processor_seconds(pid: int) -> float:
    """What a process and all that it started, and they in turn, have used of the processors until now."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended since it was listed
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            ticks[int(stat.parent.name)] = sum(map(int, fields[11:15]))
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(member, 0) for member in family) / os.sysconf("SC_CLK_TCK")


def test_media() -> Path:
    """The folder of real media with ground truth: MEDIAFLOW_TEST_MEDIA, or ../shared/media beside the clone.

    Ends the program with a message where it is missing.
    """
    folder = Path(os.environ.get("MEDIAFLOW_TEST_MEDIA") or PROJECT.parent / "shared" / "media").resolve()
    if not (folder / "manifest.jsonl").is_file():
        sys.exit(f"There is no media in {folder}. MEDIAFLOW_TEST_MEDIA names its folder.")
    return folder


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The parser of a benchmark, with --json."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def say(message: str) -> None:
    """What is being done now, beside the answer."""
    print(message, file=sys.stderr, flush=True)


def print_answer(answer: dict[str, Any], table: Sequence[Sequence[str]], as_json: bool) -> None:
    """The answer as one JSON object, or as a table whose first row is its head."""
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        print_table(table)


def print_table(table: Sequence[Sequence[str]]) -> None:
    """Rows of cells in columns: the first to the left, figures to the right; the first row is the head."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for number, row in enumerate(table):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("-" * min(WIDTH, sum(widths) + 2 * (len(widths) - 1)))
