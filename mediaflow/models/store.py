"""The store: model files on this machine, fetched once, verified before they are loaded."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mediaflow.access import denial
from mediaflow.errors import ModelError
from mediaflow.models.download import SourceError
from mediaflow.models.registry import Model, ModelFile, Part, Source, find_model
from mediaflow.models.sources import fetch
from mediaflow.settings import models_home

_CHUNK = 1 << 20
_PARTIAL = ".partial"
_WAITING = "another process pulls this model: waiting for it"
_verified: set[tuple[Path, str]] = set()


@dataclass(frozen=True)
class Progress:
    """How far a pull is: `done` of `total` bytes of a file, or a `note` for a person."""

    model: str
    file: str = ""
    done: int = 0
    total: int = 0
    note: str = ""


OnProgress = Callable[[Progress], None]


def _silent(_: Progress) -> None:
    pass


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


def missing_files(name: str) -> list[ModelFile]:
    """The files of a model that are missing or wrong, each read and hashed."""
    return [file for file in find_model(name).files if _problem(models_home() / name / file.name, file)]


def put(name: str, file: ModelFile, came: Path) -> None:
    """Put a file of a model that came some other way in its place, verified; `came` is gone after it.

    Raises ModelError where it is not what its SHA-256 says.
    """
    problem = _problem(came, file)
    if problem:
        came.unlink(missing_ok=True)
        raise ModelError(f"Model {name}: what came as {file.name}{problem.removeprefix(str(came))}.")
    _put_in_place(came, models_home() / name / file.name)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def pull(names: list[str], on_progress: OnProgress = _silent) -> list[str]:
    """Fetch what is missing or wrong of the models; the names of those that were not complete before.

    Sources are tried in order; what was cut goes on where it was; of two processes that pull one
    model, the second waits for the first. Raises UsageError for an unknown name, and, when all that
    can be had is there, ModelError that names each source with its reason for what cannot.
    """
    pulled, failed = [], []
    for model in [find_model(name) for name in names]:
        try:
            if _pull_model(model, on_progress):
                pulled.append(model.name)
        except ModelError as error:
            failed.append(str(error))
    if failed:
        raise ModelError("\n".join(failed))
    return pulled


def _pull_model(model: Model, on_progress: OnProgress) -> bool:
    folder = models_home() / model.name
    if not any(_problem(folder / file.name, file) for file in model.files):
        return False  # without a lock: the folder may be one that cannot be written
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / ".lock", lambda: on_progress(Progress(model.name, note=_WAITING))):
            missing = [file for file in model.files if _problem(folder / file.name, file)]
            for file in missing:
                _pull_file(model, file, folder, on_progress)
            shutil.rmtree(folder / _PARTIAL, ignore_errors=True)
    except OSError as error:
        where = error.filename or folder
        raise ModelError(
            f"Model {model.name} cannot be stored: {where}: {error.strerror or error}. "
            "MEDIAFLOW_MODELS names the folder of models."
        ) from None
    return bool(missing)


def _pull_file(model: Model, file: ModelFile, folder: Path, on_progress: OnProgress) -> None:
    partial = folder / _PARTIAL
    partial.mkdir(exist_ok=True)
    reasons = []
    for source in file.sources:
        began_before = any(list(partial.glob(_piece_name(part) + "*")) for part in source)
        for _ in range(2 if began_before else 1):  # what lay here from before may be what is wrong
            try:
                whole = _fetch_source(model, file, source, partial, on_progress)
            except _WrongBytes as error:
                reason = str(error)
                on_progress(Progress(model.name, file.name, note=f"{source[0]}: {reason}"))
            except SourceError as error:
                reason = str(error)
                break
            else:
                _put_in_place(whole, folder / file.name)
                return
        reasons.append(f"  {' + '.join(map(str, source))}\n    {reason}")
    raise ModelError(
        f"Model {model.name}: no source gives {file.name}.\n"
        + "\n".join(reasons)
        + f"\nFix one of these and pull again, or put the file at {folder / file.name} "
        f"({file.size} bytes, SHA-256 {file.sha256})."
    )


class _WrongBytes(SourceError):
    """A source answered, with something else than the file."""


def _fetch_source(
    model: Model, file: ModelFile, source: Source, partial: Path, on_progress: OnProgress
) -> Path:
    """The file as that source gives it, verified; raises SourceError."""
    pieces = [partial / _piece_name(part) for part in source]
    for place, (part, piece) in enumerate(zip(source, pieces, strict=True)):

        def report(share: float, place: int = place) -> None:
            done = int(file.size * (place + share) / len(source))
            on_progress(Progress(model.name, file.name, done, file.size))

        if not piece.exists():
            fetch(part, piece, file.size if len(source) == 1 else None, report)
    whole = _join(pieces)
    problem = _problem(whole, file)
    if problem:
        whole.unlink()
        raise _WrongBytes(f"what came{problem.removeprefix(str(whole))}; it was thrown away")
    return whole


def _piece_name(part: Part) -> str:
    return hashlib.sha256(str(part).encode()).hexdigest()[:16]


def _join(pieces: list[Path]) -> Path:
    """The pieces as one file; they are gone after it, so that the disk holds the bytes about once."""
    if len(pieces) == 1:
        return pieces[0]
    whole = pieces[0].with_name(pieces[0].name + ".joined")
    with whole.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as source:
                shutil.copyfileobj(source, out, _CHUNK)
    for piece in pieces:
        piece.unlink()
    return whole


def _put_in_place(whole: Path, path: Path) -> None:
    """A reader finds the old file or the new one, and after a power cut no half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole.open("rb+") as stream:
        os.fsync(stream.fileno())
    whole.replace(path)
    entry = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


@contextmanager
def _lock(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a model's folder; the system lets go of it when the process ends, however it ends."""
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


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
    except PermissionError:
        raise ModelError(denial(path)) from None
    except OSError:
        return None
