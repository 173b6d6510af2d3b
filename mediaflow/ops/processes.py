"""The processes of an installation: the embedded queue, and the workers that the settings name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mediaflow.fleet.key import without_key
from mediaflow.fleet.settings import FleetSettings, load_fleet
from mediaflow.queues.connection import outside_url
from mediaflow.settings import Settings, configs, home, models_home, user_configs

LOG_LIMIT = 5_000_000
CONTROLLER = "fleet"


# What stands one place lower in `fallback.priority` gives way to what stands above it by so much niceness.
NICE_STEP = 4
NICEST = 19


@dataclass(frozen=True, slots=True)
class Planned:
    """One process: its name, and the queue it serves; one that serves none is known by its module."""

    name: str
    queue: str = ""
    module: str = "workers"
    nice: int = 0


def planned_workers(settings: Settings) -> list[Planned]:
    """The workers that the settings name, in the order in which files pass them."""
    counts = {"prepare": settings.prepare.workers}
    counts |= {name: task.workers for name, task in settings.tasks.items() if task.default}
    counts["index"] = 1
    nice = _nice_of(load_fleet())
    return [
        Planned(queue if number == 1 else f"{queue}-{number}", queue, nice=nice.get(queue, 0))
        for queue, count in counts.items()
        for number in range(1, count + 1)
    ]


def planned_fleet(fleet: FleetSettings) -> list[Planned]:
    """The gateway and the controller, where boxes may be rented; none where they may not.

    Raises ConfigError where something that they need is missing.
    """
    if not fleet.enabled:
        return []
    from mediaflow.fleet.birth import births
    from mediaflow.fleet.key import api_key

    api_key()
    births(fleet)
    return [Planned("gateway", module="workers.gateway"), Planned(CONTROLLER, module="mediaflow.fleet")]


def _nice_of(fleet: FleetSettings) -> dict[str, int]:
    """How far the workers of each task give way to others, by the place of the task in the settings."""
    if not fleet.enabled:
        return {}
    return {task: min(NICEST, place * NICE_STEP) for place, task in enumerate(fleet.fallback.priority)}


def needs_queue() -> bool:
    """Whether the embedded queue is one of the processes: there is no outside one."""
    return outside_url() is None


def start_worker(planned: Planned) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one; what it says goes to its log."""
    environment = os.environ | _places() | {"PYTHONUNBUFFERED": "1"}
    if planned.name != CONTROLLER:  # no other process needs it
        environment = without_key(environment)
    words = [planned.module, *filter(None, [planned.queue]), str(os.getpid())]
    with log_path(planned.name).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=_project(),
            env=environment,
        )
    if planned.nice:
        with suppress(OSError):  # it has ended already, or was nicer from the beginning
            os.setpriority(os.PRIO_PROCESS, process.pid, planned.nice)
    return process


def _places() -> dict[str, str]:
    """Where things are, for a process that runs in another folder: the names may be relative."""
    return {
        "MEDIAFLOW_CONFIG": str(user_configs()),
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
    """The log of a process, rotated when it has become long."""
    path = home() / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_name(path.name + ".1"))
    return path


def keep_logs_short() -> None:
    """Rotate the logs that have become long. Their writers append, so they continue at the beginning."""
    for path in (*(home() / "logs").glob("*.log"), *(home() / "valkey").glob("*.log")):
        if path.stat().st_size > LOG_LIMIT:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)


def _project() -> Path:
    """The folder from which `workers` and `jobs` are found, wherever the command was typed."""
    return Path(__file__).resolve().parents[2]
