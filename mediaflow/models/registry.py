"""The registry: configs/models.yaml, which names every model's files, hashes and sources."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mediaflow import settings
from mediaflow.configuration import is_there
from mediaflow.errors import ConfigError, UsageError

Kind = Literal["pypi", "hf", "file"]

# What each kind of source looks like, and the same for a person.
_FORMS: dict[Kind, tuple[re.Pattern[str], str]] = {
    "pypi": (
        re.compile(r"pypi:(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.+!]+)#(?P<path>.+)"),
        "pypi:PACKAGE==VERSION#path/in/wheel",
    ),
    "hf": (
        re.compile(r"hf:(?P<name>[\w.-]+/[\w.-]+)@(?P<version>[0-9a-f]{40})#(?P<path>.+)"),
        "hf:OWNER/REPO@REVISION#file (REVISION is a commit of 40 hex digits)",
    ),
    "file": (re.compile(r"file:(?P<path>/.+)"), "file:/absolute/path"),
}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Entry):
    """One place to get bytes from: a file in a wheel, in a hub repository, or on this machine."""

    kind: Kind
    path: str
    name: str = ""
    version: str = ""

    def __str__(self) -> str:
        pin = {"pypi": f"{self.name}=={self.version}#", "hf": f"{self.name}@{self.version}#", "file": ""}
        return f"{self.kind}:{pin[self.kind]}{self.path}"

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read a source as models.yaml writes it; raises ValueError saying how it should look."""
        kind = text.partition(":")[0]
        for known, (pattern, form) in _FORMS.items():
            if kind == known:
                match = pattern.fullmatch(text)
                if match is None:
                    raise ValueError(f"{text!r} does not have the form {form}")
                return cls(kind=known, **match.groupdict())
        raise ValueError(f"{text!r} must start with one of: {', '.join(k + ':' for k in _FORMS)}")


# A source is its parts in order; a file that is cut in pieces has more than one.
Source = tuple[Part, ...]


class ModelFile(_Entry):
    """One file of a model: its name in the model's folder, size in bytes, SHA-256 and sources."""

    name: str
    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    sources: tuple[Source, ...] = Field(min_length=1)

    @field_validator("name")
    @classmethod
    def _stays_in_its_folder(cls, name: str) -> str:
        path = PurePosixPath(name)
        if path.is_absolute() or not path.parts or any(part.startswith(".") for part in path.parts):
            raise ValueError("a file's name must be a plain relative path")
        return name

    @field_validator("sources", mode="before")
    @classmethod
    def _parse_sources(cls, sources: Any) -> Any:
        if not isinstance(sources, list):
            raise ValueError("sources must be a list, best first")
        split = [source if isinstance(source, list) else [source] for source in sources]
        if not all(split):
            raise ValueError("a source needs at least one part")
        return [tuple(Part.parse(str(part)) for part in parts) for parts in split]


class Model(_Entry):
    """One model: what it is for, whose it is, and its files."""

    name: str
    task: str
    licence: str
    origin: str
    default: bool = False
    files: tuple[ModelFile, ...] = Field(min_length=1)

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(file.size for file in self.files)


class _Registry(_Entry):
    models: dict[str, Model]

    @field_validator("models", mode="before")
    @classmethod
    def _name_them(cls, models: Any) -> Any:
        if not isinstance(models, dict):
            raise ValueError("models must hold NAME: entry")
        for name in models:
            if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", str(name)):
                raise ValueError(f"{name!r} cannot name a model: use small letters, digits, '-' and '.'")
        return {
            name: {**entry, "name": name} if isinstance(entry, dict) else entry
            for name, entry in models.items()
        }


def load_registry(path: Path | None = None) -> dict[str, Model]:
    """All models of models.yaml by name, in its order; without `path` also those of the user's file.

    Raises ConfigError with file and line for a wrong key or value.
    """
    if path:
        return _load(path)
    own = settings.user_configs() / "models.yaml"
    return _load(settings.configs() / "models.yaml") | (_load(own) if is_there(own) else {})


def find_model(name: str) -> Model:
    """The model of that name; raises UsageError naming those that there are."""
    models = load_registry()
    if name not in models:
        raise UsageError(f"There is no model {name!r} in models.yaml. Known: {', '.join(models)}.")
    return models[name]


@lru_cache(maxsize=8)
def _load(path: Path) -> dict[str, Model]:
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{path} cannot be read ({reason}). MEDIAFLOW_CONFIGS names its folder.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: {getattr(error, 'problem', error)}") from None
    try:
        return _Registry.model_validate(tree).models
    except ValidationError as error:
        first = error.errors()[0]
        spot = [part for part in first["loc"] if part != "[key]"]
        where = f"{path}, line {_line(node, spot)}"
        name = ".".join(str(part) for part in spot) or "the file"
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{where}: there is no key {name!r} here. Remove it or mend it.") from None
        raise ConfigError(f"{where}: {name} is wrong: {first['msg']}.") from None


def _line(node: Any, spot: list[Any]) -> int:
    """The line (from 1) of the value at `spot`, or of the nearest thing around it."""
    line = node.start_mark.line if node else 0
    for step in spot:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if str(key.value) == str(step)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = [(node.value[step], node.value[step])]
        else:
            break
        if not found:
            break
        line, node = found[0][0].start_mark.line, found[0][1]
    return line + 1
