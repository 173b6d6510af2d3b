"""How ONNX Runtime is used: threads from the settings, no spinning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mediaflow.errors import ModelError
from mediaflow.models.device import onnx_providers
from mediaflow.settings import Settings

if TYPE_CHECKING:
    import onnxruntime


def open_session(
    model: Path | bytes, settings: Settings, task: str = "embed", shapes_vary: bool = False
) -> onnxruntime.InferenceSession:
    """An inference session of a file or a serialised model, with the threads of a task.

    `shapes_vary` keeps no memory between runs, which would grow with every new shape of input.
    Raises ModelError where ONNX Runtime cannot load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    entry = settings.tasks.get(task)
    options.intra_op_num_threads = entry.threads if entry else 2
    options.inter_op_num_threads = 1
    # A thread that spins while it waits takes the core away from the other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = not shapes_vary
    options.log_severity_level = 3
    wanted = onnx_providers(settings)
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=wanted)
    except Exception as error:  # its exceptions share no base but Exception
        named = model if isinstance(model, Path) else "a model built from weights"
        raise ModelError(f"ONNX Runtime cannot load {named}: {error}.") from error
