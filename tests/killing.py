"""Kills an operation at one instruction after another, and looks at what is left.

    python -m tests.killing OPERATION (lines|calls) COUNT SEED [REDIS_URL]

`lines` kills at lines of mediaflow's own code, `calls` (by strace) at system calls that write, so also
within SQLite and FAISS. COUNT of them are drawn from SEED, 0 takes all. This process only forks:
everything is imported once, and nothing is open when a child begins.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tests import operations
from tests.operations import OPERATIONS, Operation, check

ROOT = Path(__file__).resolve().parents[1]
OURS = tuple(f"{ROOT}/{folder}/" for folder in ("mediaflow", "jobs"))
WRITING = (
    "fsync,fdatasync,rename,renameat,renameat2,pwrite64,write,ftruncate,fallocate,unlink,unlinkat,"
    "rmdir,mkdir,openat"
)
ANYONE = -1
_PR_SET_PTRACER = 0x59616D61  # linux/prctl.h


def main(name: str, kind: str, count: int, seed: int) -> int:
    """Kill `count` times; prints a line for each time that something was wrong, and then how many."""
    operation = OPERATIONS[name]
    with tempfile.TemporaryDirectory(prefix="killing-") as folder:
        template, work = Path(folder) / "template", Path(folder) / "home"
        _in_child(template, operation.build)
        count_all, kill = (_lines, _kill_at_line) if kind == "lines" else (_calls, _kill_at_call)
        total = count_all(operation, template, work)
        expected = Path(folder) / "expected"
        _fresh(template, work)
        _in_child(work, operation.run)
        _in_child(work, lambda: expected.write_text(operations.state()))
        points = list(range(1, total + 1))
        if count and count < total:
            points = sorted(random.Random(seed).sample(points, count))
        wrong = 0
        for point in points:
            _fresh(template, work)
            if not kill(operation, work, point):
                continue  # a thread took another way this time
            if _in_child(work, lambda: check(operation, expected.read_text())):
                wrong += 1
                _say(f"{name}: wrong after a kill at {kind} {point} of {total}, seed {seed}")
        _say(f"{name}: killed at {len(points)} of {total} {kind}, {wrong} wrong")
    return 1 if wrong or not total else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fresh(template: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(template, work)
    operations.empty_queue()


def _in_child(home: Path, do: Callable[[], Any]) -> int:
    """Run `do` in a child whose home this is; its wait status."""
    pid = os.fork()
    if pid == 0:
        os.environ["MEDIAFLOW_HOME"] = str(home)
        status = 1
        try:
            do()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def _trace(on_line: Callable[[], None]) -> None:
    def local(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            on_line()
        return local

    def begin(frame: FrameType, event: str, argument: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(OURS) else None

    threading.settrace(begin)
    sys.settrace(begin)


def _lines(operation: Operation, template: Path, work: Path) -> int:
    _fresh(template, work)
    reading, writing = os.pipe()

    def run() -> None:
        seen = 0

        def on_line() -> None:
            nonlocal seen
            seen += 1

        _trace(on_line)
        operation.run()
        sys.settrace(None)
        os.write(writing, str(seen).encode())

    assert _in_child(work, run) == 0
    return int(os.read(reading, 32))


def _kill_at_line(operation: Operation, work: Path, point: int) -> bool:
    def run() -> None:
        seen = 0

        def on_line() -> None:
            nonlocal seen
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)

        _trace(on_line)
        operation.run()

    return os.waitstatus_to_exitcode(_in_child(work, run)) == -signal.SIGKILL


def _calls(operation: Operation, template: Path, work: Path) -> int:
    """How many system calls that write an operation makes."""
    _fresh(template, work)
    log = work.parent / "calls"
    _traced(operation, work, ["-o", str(log), "-e", f"trace={WRITING}"])
    return len(re.findall(r"^\d+ +\w+\(", log.read_text(), re.MULTILINE))


def _kill_at_call(operation: Operation, work: Path, point: int) -> bool:
    inject = f"inject={WRITING}:signal=KILL:when={point}"
    options = ["-o", os.devnull, "-e", f"trace={WRITING}", "-e", inject]
    return _traced(operation, work, options) == -signal.SIGKILL


def _traced(operation: Operation, work: Path, options: list[str]) -> int:
    """Run the operation in a child that strace holds; how it ended."""
    pid = os.fork()
    if pid == 0:
        os.environ["MEDIAFLOW_HOME"] = str(work)
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(ANYONE), 0, 0, 0)
        status = 1
        try:
            os.kill(os.getpid(), signal.SIGSTOP)
            operation.run()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.waitpid(pid, os.WUNTRACED)
    command = ["strace", "-f", "-p", str(pid), *options]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    if "attached" not in said:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise SystemExit(f"strace cannot be used here: {said}")
    os.kill(pid, signal.SIGCONT)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    tracer.communicate()
    return status


if __name__ == "__main__":
    if len(sys.argv) > 5:
        os.environ["MEDIAFLOW_REDIS_URL"] = sys.argv[5]
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
