"""Where models run: on the GPU where the settings want it and there is one, else on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mediaflow.errors import ModelError
from mediaflow.settings import Settings

# The NVIDIA driver's own file: to look is free, to import CUDA's libraries takes seconds.
GPU = Path("/dev/nvidiactl")

Device = Literal["cpu", "cuda"]


def device_of(settings: Settings) -> Device:
    """What the settings come to on this machine: `auto` is the GPU where there is a driver; loads nothing."""
    if settings.device != "auto":
        return settings.device
    return "cuda" if GPU.exists() else "cpu"


def onnx_knows_gpu() -> bool:
    """Whether the ONNX Runtime that is installed is the one for GPUs."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def onnx_providers(settings: Settings) -> list[str]:
    """What ONNX Runtime is to run on, best first.

    Raises ModelError where the settings insist on a GPU and the package is the one for processors.
    """
    if device_of(settings) == "cuda" and onnx_knows_gpu():
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    if settings.device == "cuda":
        raise ModelError(
            "device is cuda, and the ONNX Runtime that is installed knows no GPU. "
            "Install onnxruntime-gpu in place of onnxruntime, or set device: auto."
        )
    return ["CPUExecutionProvider"]


def speech_device(settings: Settings) -> tuple[Device, str]:
    """What CTranslate2 is to run on, and in which numbers; it brings a runtime of its own."""
    import ctranslate2  # type: ignore[import-untyped]

    if settings.device == "cuda" or (device_of(settings) == "cuda" and ctranslate2.get_cuda_device_count()):
        return "cuda", "float16"
    return "cpu", "int8"


def torch_device(settings: Settings) -> str | None:
    """What torch is to run on; None: it looks for itself, and knows GPUs of other makers too."""
    return None if settings.device == "auto" else settings.device


def at_once(settings: Settings, on_processor: int, on_gpu: int = 4) -> int:
    """How many go through a network together: on a GPU `on_gpu` times as many; one stays one."""
    return on_processor * on_gpu if on_processor > 1 and device_of(settings) == "cuda" else on_processor
