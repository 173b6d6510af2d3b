"""Settings: configs/mediaflow.yaml, overridden by MEDIAFLOW_… variables, checked as one."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mediaflow.errors import ConfigError

# Variables that are not settings of the file: where things are, and what tests use.
PLACES = {"HOME", "CONFIGS", "MODELS", "REDIS_URL", "TEST_MEDIA", "DEBUG"}
PREFIX = "MEDIAFLOW_"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskSettings(Section):
    module: str
    model: str = ""
    workers: int = Field(1, ge=0, le=64)
    batch: int = Field(8, ge=1, le=1000)
    threads: int = Field(2, ge=1, le=256)
    seconds: float = Field(300, gt=0)
    memory_mb: int = Field(2000, ge=100)
    default: bool = True


class PrepareSettings(Section):
    workers: int = Field(1, ge=1, le=64)
    batch: int = Field(16, ge=1, le=1000)
    seconds: float = Field(600, gt=0)
    memory_mb: int = Field(3000, ge=100)


class RetrySettings(Section):
    attempts: int = Field(3, ge=1, le=20)
    seconds: float = Field(5, gt=0)


class IndexSettings(Section):
    snapshot_every: int = Field(2000, ge=1)


class SpaceSettings(Section):
    image: str = "conse"
    text: str = "e5"


class RenditionSettings(Section):
    pixels: int = Field(2000, ge=256)
    frame_seconds: float = Field(2, gt=0)
    max_frames: int = Field(600, ge=1)
    max_pages: int = Field(50, ge=1)
    max_hours: float = Field(12, gt=0, le=1000)
    days: float = Field(7, ge=0)
    gigabytes: float = Field(10, ge=0)


class Settings(Section):
    tasks: dict[str, TaskSettings]
    prepare: PrepareSettings = PrepareSettings()
    index: IndexSettings = IndexSettings()
    retries: RetrySettings = RetrySettings()
    spaces: SpaceSettings = SpaceSettings()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    renditions: RenditionSettings = RenditionSettings()

    def default_tasks(self) -> list[str]:
        """The tasks that run when `submit` is not told which, in the order of the file."""
        return [name for name, task in self.tasks.items() if task.default]


def all_queues() -> tuple[str, ...]:
    """The names of all queues, in the order in which files pass them."""
    return ("prepare", *load_settings().tasks, "index")


def home() -> Path:
    """The folder that holds all state: MEDIAFLOW_HOME, or the platform's data folder."""
    named = os.environ.get("MEDIAFLOW_HOME")
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("mediaflow"))


def configs() -> Path:
    """The folder of configuration files: MEDIAFLOW_CONFIGS, or the project's own."""
    named = os.environ.get("MEDIAFLOW_CONFIGS")
    return Path(named) if named else Path(__file__).resolve().parents[1] / "configs"


def models_home() -> Path:
    """The folder of model weights: MEDIAFLOW_MODELS, or `models` under MEDIAFLOW_HOME."""
    named = os.environ.get("MEDIAFLOW_MODELS")
    return Path(named).expanduser().absolute() if named else home() / "models"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read, override and check the settings.

    Raises ConfigError with file and line (or the variable's name) for a wrong key or value.
    """
    path = configs() / "mediaflow.yaml"
    tree, lines = _read(path)
    origins = {location: f"{path}, line {line}" for location, line in lines.items()}
    for name, value in sorted(os.environ.items()):
        section = name.removeprefix(PREFIX).split("__")[0]
        if not name.startswith(PREFIX) or section in PLACES:
            continue
        keys = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"variable {name}: {value!r} is no value that YAML knows.") from None
        _put(tree, keys, read, name)
        origins[keys] = f"variable {name}"
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, origins, path)) from None


def _read(path: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """The file's tree, and the line (from 1) on which each key stands."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        tree = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{path} cannot be read ({why}). MEDIAFLOW_CONFIGS names its folder.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: {getattr(error, 'problem', error)}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold keys and values, as the one that came with mediaflow.")
    lines: dict[tuple[str, ...], int] = {}
    _number(node, (), lines)
    return tree, lines


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


def _explain(error: ValidationError, origins: dict[tuple[str, ...], str], path: Path) -> str:
    first = error.errors()[0]
    location = tuple(str(part) for part in first["loc"])
    where = str(path)
    for length in range(len(location), 0, -1):
        if location[:length] in origins:
            where = origins[location[:length]]
            break
    name = ".".join(location)
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no setting {name!r}. See the comments in configs/mediaflow.yaml."
    return f"{where}: {name} = {first.get('input')!r} is wrong: {first['msg']}."
