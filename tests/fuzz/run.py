"""A run of the fuzzer: files through the warm child, and what must hold of each."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mediaflow.settings import home
from tests.fuzz.mutations import mutate
from workers.watch import Limits, Watch

SECONDS = 20.0  # that a file may take
MEMORY_MB = 2000
_BATCH = 8
# What only an exception that nobody foresaw is called.
_UNFORESEEN = re.compile(r"^[A-Za-z_.]*(Error|Exception|Warning|Exit|Interrupt)\b")


@dataclass(slots=True)
class Report:
    """What became of the files: counts, and the guilty ones with what was wrong."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    guilty: list[tuple[Path, str]] = field(default_factory=list)
    peak_mb: float = 0.0
    slowest: float = 0.0


def fuzz(seed: int, samples: list[bytes], folder: Path, *, seconds: float, most: int = 1 << 60) -> Report:
    """Damage files from `samples` for `seconds`, or `most` of them; guilty ones stay in `folder`."""
    report = Report(seed)
    end = time.monotonic() + seconds
    folder.mkdir(parents=True, exist_ok=True)
    child = Watch("prepare", Limits(SECONDS, MEMORY_MB), 2, lambda: None, lambda: False)
    chance = random.Random(seed)
    with _peaks(child, report):
        while time.monotonic() < end and report.counts.total() < most:
            batch = list(_batch(chance, samples, folder, report.counts.total()))
            _judge(child, batch, folder, report)
    child.stop()
    return report


def _batch(chance: random.Random, samples: list[bytes], folder: Path, first: int) -> Iterator[Path]:
    for number in range(first, first + _BATCH):
        path = folder / f"{number:06d}.bin"
        path.write_bytes(mutate(chance, chance.choice(samples), chance.choice(samples)))
        yield path


def _judge(child: Watch, paths: list[Path], folder: Path, report: Report) -> None:
    """Every file ends done or with a reason, in time and in memory, and leaves nothing half made."""
    items = [{"path": str(path), "root": str(folder), "asset": None} for path in paths]
    answered = set()
    last = time.monotonic()
    for index, result in child.work(items):
        answered.add(index)
        spent, last = time.monotonic() - last, time.monotonic()
        report.slowest = max(report.slowest, spent)
        reason = str(result.get("reason", ""))
        kind, wrong = _verdict(reason)
        report.counts[kind] += 1
        report.reasons[re.sub(r"\d+", "N", reason)] += 1
        if spent > 2 * SECONDS + 10 and not wrong:
            wrong = f"took {spent:.0f} s"
        if wrong:
            report.guilty.append((paths[index], wrong))
        else:
            paths[index].unlink()
    report.guilty += [(path, "got no answer") for at, path in enumerate(paths) if at not in answered]
    if left := _half_made(child):
        report.guilty.append((left[0], "left half made"))


def _verdict(reason: str) -> tuple[str, str]:
    """What became of a file, and what is wrong with that; empty for nothing."""
    if not reason:
        return "done", ""
    if reason.startswith("took longer"):
        return "timed out", reason
    if reason.startswith("took more") or "not enough memory" in reason:
        return "too much memory", reason
    if "the process that analysed it" in reason:
        return "crashed", reason
    return "refused", reason if _UNFORESEEN.match(reason) else ""


def _half_made(child: Watch) -> list[Path]:
    """Folders that the living child has left; one that was killed could not clear away."""
    pid = child._process.pid if child._process else 0
    return list((home() / "renditions").glob(f"*/*.partial-{pid}"))


class _peaks:  # noqa: N801 - reads as a phrase: with _peaks(child, report)
    """Looks at the child's memory twenty times a second while a block runs."""

    def __init__(self, child: Watch, report: Report) -> None:
        self.child, self.report = child, report
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.05):
            process = self.child._process
            try:
                status = Path(f"/proc/{process.pid}/status").read_text() if process else ""
            except OSError:
                continue
            if peak := re.search(r"VmHWM:\s+(\d+)", status):
                self.report.peak_mb = max(self.report.peak_mb, int(peak[1]) / 1024)
