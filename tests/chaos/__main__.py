"""Faults into a running installation, then a verdict: `python -m tests.chaos --minutes 20 --seed 7`.

Everything that is drawn by chance comes from the seed. A round has an installation and a pile of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.faults import DECK
from tests.chaos.round import Plan, Report, play

ROOT = Path(__file__).resolve().parents[2]
ROUND_MINUTES = 5.0


def main() -> int:
    """Play the rounds; 0 when nothing was wrong in any of them."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to end, it leaves nothing running
    options = _options()
    rounds = max(1, round(options.minutes / ROUND_MINUTES))
    folder = Path(options.keep or tempfile.mkdtemp(prefix="mediaflow-chaos-"))
    media = _media()
    if media is None:
        print("No real media: MEDIAFLOW_TEST_MEDIA names their folder.", file=sys.stderr)
    kinds = tuple(fault.__name__ for fault in DECK if not options.only or fault.__name__ in options.only)
    kinds = tuple(kind for kind in kinds if kind not in options.without)
    began, reports = time.monotonic(), []
    for number in range(1, rounds + 1):
        seconds = options.minutes * 60 / rounds
        plan = Plan(f"{options.seed} {number}", seconds, options.files, media, options.short, kinds)
        print(f"round {number} of {rounds}, seed {options.seed}", file=sys.stderr, flush=True)
        report = play(plan, folder / f"round-{number}")
        reports.append(report)
        print(f"  {report.layout}: {report.faults.total()} faults", file=sys.stderr, flush=True)
    wrong = any(report.problems for report in reports)
    if options.json:
        print(json.dumps({"seed": options.seed, "rounds": [report.as_json() for report in reports]}))
    else:
        _print(reports, time.monotonic() - began)
    if wrong:
        print(f"It failed with seed {options.seed}; homes and logs are in {folder}. Again:", file=sys.stderr)
        print(f"  {_again(options)}", file=sys.stderr)
    elif not options.keep:
        shutil.rmtree(folder)
    return int(wrong)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="of faults, in rounds of about five")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)), help="drawn if not given")
    parser.add_argument("--files", type=int, default=300, help="in the pile at the start of a round")
    parser.add_argument("--short", action="store_true", help="each kind of fault once, with short pauses")
    parser.add_argument("--only", action="append", default=[], choices=[fault.__name__ for fault in DECK])
    parser.add_argument("--without", action="append", default=[], choices=[fault.__name__ for fault in DECK])
    parser.add_argument("--keep", help="the folder of homes and logs, which then stays")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def _again(options: argparse.Namespace) -> str:
    """The command that plays the same once more."""
    words = [
        "python -m tests.chaos",
        f"--minutes {options.minutes:g}",
        f"--seed {options.seed}",
        f"--files {options.files}",
    ]
    words += ["--short"] if options.short else []
    words += [f"--only {kind}" for kind in options.only] + [f"--without {kind}" for kind in options.without]
    return " ".join(words)


def _media() -> Path | None:
    folder = Path(os.environ.get("MEDIAFLOW_TEST_MEDIA") or ROOT.parent / "shared" / "media").absolute()
    return folder if (folder / "manifest.jsonl").is_file() else None


def _print(reports: list[Report], seconds: float) -> None:
    faults = sum((report.faults for report in reports), Counter[str]())
    print(f"{faults.total()} faults in {len(reports)} rounds, {seconds / 60:.1f} minutes with settling")
    for name, count in faults.most_common():
        print(f"  {count:4}  {name}")
    for number, report in enumerate(reports, 1):
        answer = report.as_json()
        print(
            f"round {number} ({report.layout}): {report.faults.total()} faults, {report.commands} commands,"
            f" {report.files} files, {report.assets} pictures; {report.repeats} of {report.analyses} analyses"
            f" were repeats; settled in {report.settled:.0f} s"
        )
        for name, back in (("", answer["back_seconds"]), (" (no other fault)", answer["back_seconds_alone"])):
            print(
                f"  after {back['times']} kills in mid-batch{name} its file was worked on again within"
                f" {back['most']} s, median {back['median']} s"
            )
        for kind, problems in report.problems.items():
            print(f"  {kind}: {len(problems)}")
            for problem in problems[:10]:
                print(f"    {problem}")


if __name__ == "__main__":
    sys.exit(main())
