"""Where models run: on the GPU where the settings want it and there is one, else on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mediaflow.errors import ModelError
from mediaflow.settings import Settings

# The NVIDIA driver's own file: to look is free, to import CUDA's libraries takes seconds.
GPU = Path("/dev/nvidiactl")

Device = Literal["cpu", "cuda"]


def gpu_seen() -> bool:
    """Whether an NVIDIA driver serves this machine or container; loads nothing."""
    return GPU.exists()


def device_of(settings: Settings) -> Device:
    """What the settings come to on this machine: `auto` is the GPU where there is one."""
    if settings.device != "auto":
        return settings.device
    return "cuda" if gpu_seen() else "cpu"


def onnx_uses_gpu() -> bool:
    """Whether the ONNX Runtime that is installed can use a GPU."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def onnx_providers(settings: Settings) -> list[str]:
    """What ONNX Runtime is to run on, best first.

    Raises ModelError where the settings insist on a GPU and the package is the one for processors.
    """
    if device_of(settings) == "cpu":
        return ["CPUExecutionProvider"]
    if onnx_uses_gpu():
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    if settings.device == "cuda":
        raise ModelError(
            "device is cuda, and the ONNX Runtime that is installed knows no GPU. "
            "Install onnxruntime-gpu in place of onnxruntime, or set device: auto."
        )
    return ["CPUExecutionProvider"]


def pictures_at_once(settings: Settings, on_processor: int) -> int:
    """How many pictures go through a network together: a GPU is not busy with few."""
    return on_processor * 4 if device_of(settings) == "cuda" else on_processor
