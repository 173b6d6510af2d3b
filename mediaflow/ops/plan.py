"""The plan of a submit: its arguments, checked and made absolute, before anything is done."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mediaflow.catalog import passages, runs
from mediaflow.catalog.locations import Scope
from mediaflow.errors import ModelError, UsageError
from mediaflow.names import readable
from mediaflow.settings import home, load_settings


@dataclass(slots=True)
class Plan:
    """What a submit is asked for, made absolute: what to walk, what to do, and how to tell of it.

    `models` are those of the tasks; `texts`, where `embed` is one of them, that of each source of text.
    """

    scope: Scope
    tasks: list[str]
    models: dict[str, str]
    texts: dict[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)
    on_folder: Callable[[runs.Count], None] = lambda _: None


def plan(paths: Sequence[str], library: str, tasks: Sequence[str] | None, exclude: Sequence[str]) -> Plan:
    """Check the arguments of a submit.

    Raises UsageError for a path that is not there, a task that does not exist, or a root inside
    mediaflow's own home.
    """
    settings = load_settings()
    named = list(dict.fromkeys(tasks or settings.default_tasks()))
    for task in named:
        if task not in settings.tasks:
            raise UsageError(f"There is no task {task!r}. Tasks are: {', '.join(settings.tasks)}.")
    roots = []
    for path in paths:
        absolute = os.path.abspath(os.path.expanduser(path))
        if not os.path.lexists(absolute):
            raise UsageError(f"{readable(absolute)} does not exist. Name a folder or a file that is there.")
        if Path(absolute).is_relative_to(home()):
            raise UsageError(
                f"{readable(absolute)} is in MEDIAFLOW_HOME, where mediaflow keeps its own files."
            )
        roots.append(os.fsencode(absolute))
    return plan_for(Scope(library, tuple(dict.fromkeys(roots))), named, exclude)


def plan_for(scope: Scope, tasks: Sequence[str], exclude: Sequence[str] = ()) -> Plan:
    """The plan to do these tasks in `scope` with the models that the settings name."""
    from mediaflow.models.identity import embed_text_model, task_model

    texts = {source: embed_text_model(source) for source in passages.SOURCES.values()}
    models = {task: task_model(task) for task in tasks}
    return Plan(scope, list(tasks), models, texts if "embed" in tasks else {}, tuple(exclude))


def lock_name(plan: Plan) -> str:
    """The lock of this library and these roots: one submit of the same at a time."""
    named = "\0".join([plan.scope.library, *sorted(map(os.fsdecode, plan.scope.roots))])
    return "submit-" + hashlib.sha256(os.fsencode(named)).hexdigest()[:16]


def check_models(plan: Plan) -> None:
    """Raise ModelError when a task's model is not on this machine."""
    from mediaflow.models.identity import required_models
    from mediaflow.models.store import installed

    missing = [model for task in plan.tasks for model in required_models(task) if not installed(model)]
    if missing:
        names = " ".join(dict.fromkeys(missing))
        raise ModelError(
            f"These models are not on this machine yet: {names}. Run: mediaflow models pull {names}"
        )
