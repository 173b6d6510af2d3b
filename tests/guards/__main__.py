"""`python -m tests.guards [WORD…] [--processes N]`: take each guard away, and see its test fail."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.guards.listed import ROOT, Guard, read_guards

SECONDS = 300
# How pytest ends when a test has failed; all else (no such test, an error in the file) shows nothing.
FAILED = 1


def copy_tree(to: Path) -> Path:
    """The files that git knows, as they are now, in a folder of their own."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in names.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)
    return to


def without(guard: Guard, tree: Path) -> tuple[bool, str]:
    """Whether its test fails in a tree without this guard, and what was seen."""
    path = tree / guard.file
    whole = path.read_text()
    path.write_text(whole.replace(guard.old, guard.new))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-m",
        "",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "--timeout=100",
    ]
    command += [
        f"--basetemp={tree / 'temporary'}",
        guard.test,
        *(["-k", guard.select] if guard.select else []),
    ]
    environment = os.environ | {"MEDIAFLOW_MODELS": os.environ.get("MEDIAFLOW_MODELS", str(ROOT / ".models"))}
    environment |= {"MEDIAFLOW_TEST_MEDIA": str(ROOT.parent / "shared" / "media")} | environment
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        failed, said = done.returncode == FAILED, (done.stdout.strip().splitlines() or ["nothing"])[-1]
    except subprocess.TimeoutExpired:
        failed, said = False, f"no end within {SECONDS} s: shows nothing"
    finally:
        path.write_text(whole)
    return failed, said


def main() -> int:
    """Try all; the exit status is 1 when some guard is missed by nobody."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "words", nargs="*", help="only guards whose name, file or test has one of these words"
    )
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    guards = [
        guard
        for guard in read_guards()
        if not options.words
        or any(word in f"{guard.name} {guard.file} {guard.test}" for word in options.words)
    ]
    trees: SimpleQueue[Path] = SimpleQueue()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mediaflow-guards-") as folder:
        for number in range(options.processes):
            trees.put(copy_tree(Path(folder) / str(number)))

        def look(guard: Guard) -> bool:
            tree = trees.get()
            try:
                failed, said = without(guard, tree)
            finally:
                trees.put(tree)
            print(f"{'missed' if failed else 'NOT MISSED'}: {guard.name} ({guard.file}): {said}", flush=True)
            return failed

        with ThreadPoolExecutor(options.processes) as pool:
            results = list(pool.map(look, guards))
    missed, count = sum(results), len(results)
    print(f"{missed} of {count} guards are missed by their tests; {time.monotonic() - started:.0f} s.")
    return 0 if missed == count else 1


if __name__ == "__main__":
    sys.exit(main())
