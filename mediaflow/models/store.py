"""The store: model files on this machine, fetched once, verified before they are loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mediaflow.errors import ModelError
from mediaflow.models.registry import ModelFile, find_model
from mediaflow.settings import models_home

_CHUNK = 1 << 20
_verified: set[tuple[Path, str]] = set()


def model_folder(name: str) -> Path:
    """The folder that holds all files of a model, each verified by SHA-256 once per process.

    Raises UsageError for an unknown name, ModelError where a file is missing or wrong.
    """
    model = find_model(name)
    folder = models_home() / name
    for file in model.files:
        path = folder / file.name
        if (path, file.sha256) in _verified:
            continue
        problem = _problem(path, file)
        if problem:
            raise ModelError(f"Model {name}: {problem}. Run: mediaflow models pull {name}")
        _verified.add((path, file.sha256))
    return folder


def installed(name: str) -> bool:
    """Whether all files of a model are there with the right sizes; reads none of them."""
    folder = models_home() / name
    return all(_size(folder / file.name) == file.size for file in find_model(name).files)


def verify(names: list[str]) -> list[str]:
    """Read and hash every file of the models; the problems found, in words, none when all is well."""
    problems = []
    for name in names:
        for file in find_model(name).files:
            problem = _problem(models_home() / name / file.name, file)
            if problem:
                problems.append(f"{name}: {problem}")
    return problems


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _problem(path: Path, file: ModelFile) -> str:
    """What is wrong with a file of a model, or nothing."""
    size = _size(path)
    if size is None:
        return f"{path} is missing"
    if size != file.size:
        return f"{path} has {size} bytes, not {file.size}"
    try:
        found = sha256_of(path)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    if found != file.sha256:
        return f"{path} has SHA-256 {found[:12]}…, not {file.sha256[:12]}…"
    return ""


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
