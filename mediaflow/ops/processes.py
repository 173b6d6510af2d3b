"""The processes of an installation: the embedded queue, and the workers that the settings name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mediaflow.queues.connection import outside_url
from mediaflow.settings import Settings, configs, home, models_home

LOG_LIMIT = 5_000_000


@dataclass(frozen=True, slots=True)
class Planned:
    """One worker process: its name, and the queue it serves."""

    name: str
    queue: str


def planned_workers(settings: Settings) -> list[Planned]:
    """The workers that the settings name, in the order in which files pass them."""
    counts = {"prepare": settings.prepare.workers}
    counts |= {name: task.workers for name, task in settings.tasks.items() if task.default}
    counts["index"] = 1
    return [
        Planned(queue if number == 1 else f"{queue}-{number}", queue)
        for queue, count in counts.items()
        for number in range(1, count + 1)
    ]


def needs_queue() -> bool:
    """Whether the embedded queue is one of the processes: there is no outside one."""
    return outside_url() is None


def start_worker(planned: Planned) -> subprocess.Popen[bytes]:
    """Start a worker that ends with this process; what it says goes to its log."""
    with log_path(planned.name).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "workers", planned.queue, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=_project(),
            env=os.environ | _places() | {"PYTHONUNBUFFERED": "1"},
        )


def _places() -> dict[str, str]:
    """Where things are, for a process that runs in another folder: the names may be relative."""
    return {
        "MEDIAFLOW_HOME": str(home()),
        "MEDIAFLOW_MODELS": str(models_home()),
        "MEDIAFLOW_CONFIGS": str(configs().absolute()),
    }


def stop_processes(processes: Iterable[subprocess.Popen[bytes]], seconds: float) -> None:
    """Ask processes to end, and kill those that have not after `seconds`."""
    alive = [process for process in processes if process.poll() is None]
    for process in alive:
        process.terminate()
    deadline = time.monotonic() + seconds
    for process in alive:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def log_path(name: str) -> Path:
    """The log of a process, begun anew when it has become long."""
    path = home() / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_name(path.name + ".1"))
    return path


def keep_logs_short() -> None:
    """Begin anew the logs that have become long. Their writers append, so they go on at the beginning."""
    for path in (*(home() / "logs").glob("*.log"), *(home() / "valkey").glob("*.log")):
        if path.stat().st_size > LOG_LIMIT:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)


def _project() -> Path:
    """The folder from which `workers` and `jobs` are found, wherever the command was typed."""
    return Path(__file__).resolve().parents[2]
