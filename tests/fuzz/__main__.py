"""`python -m tests.fuzz`: see the package."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.fuzz import samples
from tests.fuzz.run import Report, fuzz


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz the decoders' front door."
    )
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--keep", type=Path, default=None, help="where guilty files are kept")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    keep = asked.keep or Path(tempfile.gettempdir()) / f"mediaflow-fuzz-{asked.seed}"
    with tempfile.TemporaryDirectory(prefix="mediaflow-fuzz-home-") as home:
        os.environ["MEDIAFLOW_HOME"] = home
        files = samples.generated() + samples.real()
        print(f"{len(files)} files to start from", flush=True)
        report = fuzz(asked.seed, files, keep, seconds=asked.minutes * 60)
    print_report(report, keep)
    return 1 if report.guilty else 0


def print_report(report: Report, keep: Path) -> None:
    counts = ", ".join(f"{count} {what}" for what, count in report.counts.most_common())
    print(f"seed {report.seed}: {report.counts.total()} files: {counts}")
    print(f"at most {report.peak_mb:.0f} MB of memory and {report.slowest:.1f} s for a file")
    for reason, count in report.reasons.most_common(12):
        print(f"  {count:6} {reason or 'done'}")
    for path, wrong in report.guilty:
        print(f"GUILTY {path}: {wrong}")
    if not report.guilty:
        shutil.rmtree(keep, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
