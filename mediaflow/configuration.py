"""Reading settings: a YAML file, overridden by a second and by variables, checked; errors name the line."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mediaflow.errors import ConfigError, MediaflowError


class Section(BaseModel):
    """A section of a settings file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Form = TypeVar("Form", bound=Section)


def read_settings(
    files: tuple[Path, Path], form: type[Form], prefix: str, skip: Collection[str] = ()
) -> Form:
    """Read a file, override it by a second one and by variables that begin with `prefix`, and check it.

    The second file may be missing; its sections are merged into those of the first, its values replace them.

    `tasks.ocr.workers` is PREFIX + TASKS__OCR__WORKERS; variables whose first part is in `skip` do
    not belong to this file. Raises ConfigError with file and line (or the variable's name) for a wrong key or
    value.
    """
    path, own = files
    tree, origins = _read(path)
    if is_there(own):
        differing, places = _read(own)
        tree = _merge(tree, differing)
        origins |= places
    for name, value in sorted(os.environ.items()):
        section = name.removeprefix(prefix).split("__")[0]
        if not name.startswith(prefix) or section in skip:
            continue
        keys = tuple(part.lower() for part in name.removeprefix(prefix).split("__"))
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"variable {name}: {value!r} is not a YAML value.") from None
        _put(tree, keys, read, name)
        origins[keys] = f"variable {name}"
    try:
        return form.model_validate(tree)
    except ValidationError as error:
        known = [prefix + name for name in (*skip, *(key.upper() for key in form.model_fields))]
        raise ConfigError(_explain(error, origins, path, known)) from None


def is_there(path: Path) -> bool:
    """Whether a user's own file exists. Raises MediaflowError where its folder is closed to this user."""
    from mediaflow.access import denial  # which itself asks the settings for folders

    try:
        path.stat()
    except PermissionError:
        raise MediaflowError(denial(path)) from None
    except OSError:
        return False
    return True


def _read(path: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], str]]:
    """The file's tree, and file and line (from 1) of each key."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        tree = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(
            f"{path} cannot be read ({why}). MEDIAFLOW_CONFIGS names the folder of complete files, "
            "MEDIAFLOW_CONFIG that of yours."
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: {getattr(error, 'problem', error)}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold keys and values, as the one that came with mediaflow.")
    lines: dict[tuple[str, ...], int] = {}
    _number(node, (), lines)
    return tree, {location: f"{path}, line {line}" for location, line in lines.items()}


def _merge(tree: dict[str, Any], differing: dict[str, Any]) -> dict[str, Any]:
    """The tree with the values of another, section by section."""
    merged = dict(tree)
    for key, value in differing.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _number(node: Any, location: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*location, str(key.value))
            lines[inner] = key.start_mark.line + 1
            _number(value, inner, lines)


def _put(tree: dict[str, Any], keys: tuple[str, ...], value: Any, variable: str) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"variable {variable}: {key!r} is a value, not a section.")
    tree[keys[-1]] = value


def _similar_variable(where: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    match = get_close_matches(where.removeprefix("variable "), known, n=1, cutoff=0.8)
    return f"Did you mean {match[0]}?" if match else ""


def _explain(
    error: ValidationError, origins: dict[tuple[str, ...], str], path: Path, known: Collection[str]
) -> str:
    first = error.errors()[0]
    location = tuple(str(part) for part in first["loc"])
    where = str(path)
    for length in range(len(location), 0, -1):
        if location[:length] in origins:
            where = origins[location[:length]]
            break
    name = ".".join(location)
    if first["type"] == "extra_forbidden":
        # A variable may name a key of a section that does not exist.
        inside = (origin for keys, origin in origins.items() if keys[: len(location)] == location)
        where = next((origin for origin in inside if origin.startswith("variable")), where)
        similar = _similar_variable(where, known) or f"See the comments in {path}."
        return f"{where}: there is no setting {name!r}. {similar}"
    return f"{where}: {name} = {first.get('input')!r} is wrong: {first['msg']}."
