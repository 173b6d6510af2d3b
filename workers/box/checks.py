"""What a box looks at before it asks for work: GPU, memory, disk, the way to the gateway, the clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mediaflow.disk import free_bytes
from mediaflow.models.device import GPU, onnx_knows_gpu
from mediaflow.models.identity import required_models
from mediaflow.models.registry import find_model
from mediaflow.settings import home
from workers.box.link import Cut, Link, Refused
from workers.box.models import model_path

LEAST_GPU_GB = 4.0
LEAST_DISK_GB = 2.0
LEAST_MEMORY_GB = 2.0
LEAST_MBPS = 5.0
PROBE_BYTES = 8 * 1024**2
LEAST_PROBE_BYTES = 1024**2
PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    said: str

    def json(self) -> dict[str, Any]:
        """As the gateway is told."""
        return asdict(self)


def look(gpu: str) -> tuple[dict[str, Any], list[Check]]:
    """The hardware, and whether it will do; `gpu` is the one that was promised, empty for none."""
    found = _nvidia()
    memory, disk = _memory_gb(), free_bytes(home()) / 1e9
    cores = len(os.sched_getaffinity(0))
    hardware: dict[str, Any] = found | {
        "cores": cores,
        "memory_gb": round(memory, 1),
        "disk_gb": round(disk, 1),
    }
    checks = [
        _gpu_check(found, gpu),
        Check("memory", memory >= LEAST_MEMORY_GB, f"{memory:.1f} GB"),
        Check("disk", disk >= LEAST_DISK_GB, f"{disk:.1f} GB free"),
    ]
    return hardware, checks


def look_at_link(link: Link, tasks: Sequence[str]) -> tuple[dict[str, Any], Check]:
    """How fast the gateway sends, by a piece of one of the tasks' models (`mbps`: Mbit/s)."""
    files = [
        (name, file.name, file.size)
        for task in tasks
        for name in required_models(task)
        for file in find_model(name).files
    ]
    if not files:
        return {}, Check("link", True, "its tasks have no models to measure it by")
    name, file, _ = max(files, key=lambda entry: entry[2])
    read = 0
    try:
        with link.stream(model_path(name, file)) as response:
            started = time.monotonic()
            for piece in response.iter_bytes(1 << 16):
                read += len(piece)
                if read >= PROBE_BYTES or time.monotonic() - started > PROBE_SECONDS:
                    break
    except (Cut, Refused) as error:
        return {}, Check("link", False, str(error))
    mbps = read * 8 / 1e6 / max(time.monotonic() - started, 1e-3)
    # A small file says more of the way's length than of its width.
    ok = mbps >= LEAST_MBPS or read < LEAST_PROBE_BYTES
    return {"mbps": round(mbps, 1)}, Check("link", ok, f"{mbps:.1f} Mbit/s")


def _gpu_check(found: dict[str, Any], promised: str) -> Check:
    if not found["gpu"]:
        return Check("gpu", not promised, "none" if not promised else f"none, and {promised} was promised")
    if found["gpu_ram_gb"] < LEAST_GPU_GB:
        return Check("gpu", False, f"{found['gpu']} has {found['gpu_ram_gb']} GB")
    if trouble := _gpu_trouble():
        return Check("gpu", False, f"{found['gpu']}: {trouble}")
    return Check("gpu", True, f"{found['gpu']}, {found['gpu_ram_gb']} GB, driver {found['driver']}")


def _gpu_trouble() -> str:
    """What keeps ONNX Runtime from using the GPU, by using it: it would go on without and not say so."""
    from mediaflow.models.encoders.graph import Graph

    if not onnx_knows_gpu():
        return "the ONNX Runtime of this image knows no GPU"
    import onnxruntime

    graph = Graph()
    graph.node("Add", "x", "x", output="y")
    model = graph.serialised({"x": (4,)}, {"y": (4,)})
    session = onnxruntime.InferenceSession(model, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    if session.get_providers()[0] != "CUDAExecutionProvider":
        return "ONNX Runtime cannot use it (driver or CUDA libraries)"
    return ""


def _nvidia() -> dict[str, Any]:
    """Name, memory (GB) and driver of the first GPU, by nvidia-smi; empty where there is none."""
    none = {"gpu": "", "gpu_ram_gb": 0.0, "driver": ""}
    program = shutil.which("nvidia-smi")
    if program is None or not GPU.exists():
        return none
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(
            [program, *query], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        name, memory, driver = (part.strip() for part in said.splitlines()[0].split(","))
        return {"gpu": name, "gpu_ram_gb": round(float(memory) / 1024, 1), "driver": driver}
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return none


def _memory_gb() -> float:
    """What this machine's or this container's memory is, in GB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        total = min(total, int(limit))
    except (OSError, ValueError):
        pass  # no limit, or the older form of it
    return total / 1e9
