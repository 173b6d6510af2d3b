"""Which model a task uses now, by name: the third part of a finding's key. Loads nothing."""

from __future__ import annotations

from mediaflow.models.encoders import encoder_models, image_space, text_space
from mediaflow.settings import load_settings


def task_model(task: str) -> str:
    """The model of a task: the one its entry names, the image space for `embed`, else the task itself."""
    settings = load_settings()
    if task == "embed":
        return image_space(settings)
    return settings.tasks[task].model or task


def embed_text_model(source: str) -> str:
    """The model under which the text of `source` (ocr or speech) is embedded: another piece of work."""
    return f"{text_space(load_settings())}/{source}"


def required_models(task: str) -> list[str]:
    """The entries of models.yaml that must be on this machine for a task to run."""
    settings = load_settings()
    if task == "embed":
        return encoder_models(settings)
    model = settings.tasks[task].model
    return [model] if model else []
