"""The plan of a submit: its arguments, checked and made absolute, before anything is done."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mediaflow.catalog import passages, runs
from mediaflow.catalog.locations import Scope
from mediaflow.errors import ModelError, UsageError
from mediaflow.names import absolute_path, readable
from mediaflow.settings import home, load_settings


@dataclass(frozen=True, slots=True)
class Problem:
    """A file or folder that could not be read, and why. The rest of the run goes on."""

    path: str
    reason: str


@dataclass(slots=True)
class Plan:
    """The arguments of a submit, made absolute: the roots to walk, the tasks, and the report of progress.

    `models` are those of the tasks; `texts`, where `embed` is one of them, that of each source of text.
    `problems` are roots and folders that could not be read, `remarks` further notes for a person.
    """

    scope: Scope
    tasks: list[str]
    models: dict[str, str]
    texts: dict[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    on_folder: Callable[[runs.Count], None] = lambda _: None


def plan(paths: Sequence[str], library: str, tasks: Sequence[str] | None, exclude: Sequence[str]) -> Plan:
    """Check the arguments of a submit. A missing path is a problem of the plan as long as others exist.

    Raises UsageError for an empty argument, a task that does not exist, a root inside mediaflow's own home,
    or when no path exists.
    """
    settings = load_settings()
    if tasks is not None and not tasks:
        raise UsageError(f"--tasks names no task. Tasks are: {', '.join(settings.tasks)}.")
    if not all(pattern.strip("/") for pattern in exclude):
        raise UsageError("--exclude needs a pattern, as '*.tmp' or Scans/.")
    named = list(dict.fromkeys(tasks or settings.default_tasks()))
    for task in named:
        if task not in settings.tasks:
            raise UsageError(f"There is no task {task!r}. Tasks are: {', '.join(settings.tasks)}.")
    roots, problems = [], []
    for path in map(absolute_path, paths):
        if Path(path).is_relative_to(home()):
            raise UsageError(f"{readable(path)} is in MEDIAFLOW_HOME, where mediaflow keeps its own files.")
        if reason := _unusable(path):
            problems.append(Problem(path, reason))
        else:
            roots.append(os.fsencode(path))
    if not roots:
        raise UsageError(told(problems, "Name a folder or a file that is there."))
    made = plan_for(Scope(library, tuple(dict.fromkeys(roots))), named, exclude)
    made.problems += problems
    return made


def _unusable(path: str) -> str:
    """Why a path cannot be a root; empty when it can."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "" if stat.S_ISDIR(mode) or stat.S_ISREG(mode) else "is neither a folder nor a file"


def told(problems: Sequence[Problem], advice: str) -> str:
    """All problems as one message, with what to do next."""
    sentences = [f"{readable(problem.path)} {problem.reason}" for problem in problems]
    lines = [sentence if sentence.endswith("?") else f"{sentence}." for sentence in sentences]
    return "\n".join([*lines, advice])


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
