"""The settings that a box works by: the gateway's, fitted to this machine, where everything reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mediaflow.errors import ConfigError
from mediaflow.models.registry import load_registry
from mediaflow.settings import home, load_settings

# What all children together may come to hold, of the machine's memory.
SHARE = 0.8


def adopt(settings: Mapping[str, Any], models: str, tasks: Sequence[str], memory_gb: float) -> None:
    """Write mediaflow.yaml and models.yaml into a folder of this home, and have this process read them.

    The machine has more cores, memory and other devices than the one whose settings these are. Raises
    ConfigError where they cannot be used here.
    """
    here = json.loads(json.dumps(settings))
    here["device"] = "auto"
    cores = len(os.sched_getaffinity(0))
    entries = here.get("tasks", {})
    if missing := [task for task in tasks if task not in entries]:
        raise ConfigError(f"The gateway's settings have no task {missing[0]!r}.")
    for task in tasks:
        entry = entries[task]
        entry["threads"] = max(int(entry.get("threads", 2)), cores // len(tasks))
        # CUDA's libraries alone are more than a task may have on a processor.
        room = int(memory_gb * 1000 * SHARE / len(tasks))
        entry["memory_mb"] = max(int(entry.get("memory_mb", 2000)), room)
    folder = home() / "configs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mediaflow.yaml").write_text(json.dumps(here, indent=1), encoding="utf-8")
    (folder / "models.yaml").write_text(models, encoding="utf-8")
    os.environ["MEDIAFLOW_CONFIGS"] = str(folder)
    load_settings.cache_clear()
    load_settings()
    load_registry(Path(folder / "models.yaml"))
