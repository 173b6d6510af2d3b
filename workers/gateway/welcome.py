"""The welcome: settings and models of a box's tasks, without anything that says where things are here."""

from __future__ import annotations

import json
from typing import Any

from mediaflow.models.identity import required_models
from mediaflow.models.registry import Model, load_registry
from mediaflow.settings import Settings, configs

# What stands for sources that a box cannot reach: it asks the gateway then.
NO_SOURCE = "file:/none"


def is_folder(name: str) -> bool:
    """Whether a space's encoder is a folder of this machine: its path is nobody's business."""
    return name.startswith(("file:", "/", ".", "~"))


def settings_for(settings: Settings, tasks: list[str]) -> dict[str, Any]:
    """The settings with these tasks only."""
    told = settings.model_dump(mode="json")
    told["tasks"] = {task: told["tasks"][task] for task in tasks}
    told["spaces"] = {kind: name for kind, name in told["spaces"].items() if not is_folder(name)}
    return told


def models_for(tasks: list[str]) -> str:
    """A models.yaml with what these tasks need; of its sources none is a path."""
    listed = load_registry() if (configs() / "models.yaml").exists() else {}
    names = {name for task in tasks for name in required_models(task) if name in listed}
    return json.dumps({"models": {name: _entry(listed[name]) for name in sorted(names)}})


def _entry(model: Model) -> dict[str, Any]:
    files = [
        {
            "name": file.name,
            "size": file.size,
            "sha256": file.sha256,
            "sources": [
                [str(part) for part in source]
                for source in file.sources
                if all(part.kind != "file" for part in source)
            ]
            or [NO_SOURCE],
        }
        for file in model.files
    ]
    return {"task": model.task, "licence": model.licence, "origin": "", "files": files}
