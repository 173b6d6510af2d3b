"""Where things are: the home and its disk, the settings, the models."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mediaflow.disk import disk_of, free_bytes
from mediaflow.errors import ConfigError
from mediaflow.ops.doctor.report import Examination, count
from mediaflow.settings import home, load_settings, models_home

# With less free than this (bytes) the catalog and the queue soon stand still.
LOW = 100_000_000


def examine(visit: Examination) -> None:
    """Look at the home, its disk, the settings and the models."""
    try:
        visit.settings = load_settings()
        visit.ok("settings", f"{count(len(visit.settings.tasks), 'task')}, all keys and values are known")
    except ConfigError as error:
        visit.problem(
            "settings", str(error), "Fix it and run doctor again; checks that need the settings were skipped."
        )
    _home(visit)
    if visit.settings is not None:
        with visit.part("models"):
            _models(visit)


def _home(visit: Examination) -> None:
    folder = home()
    if not folder.exists():
        visit.ok("home", f"{folder} is not there yet: the first submit makes it")
        return
    status = folder.stat()
    if status.st_uid != os.geteuid():
        visit.problem(
            "home",
            f"{folder} belongs to user {status.st_uid}, not to you ({os.geteuid()})",
            f"Run mediaflow as that user, or: chown -R {os.geteuid()} {folder}",
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        visit.problem("home", f"{folder} may not be written by you", f"chmod u+rwx {folder}")
    if status.st_mode & stat.S_IWOTH:
        visit.problem("home", f"everybody may write in {folder}", f"chmod o-w {folder}")
    _disk(visit, folder)
    visit.ok("home", f"{folder}, {free_bytes(folder) / 1e9:,.1f} GB free")


def _disk(visit: Examination, folder: Path) -> None:
    free = free_bytes(folder)
    if free < LOW:
        visit.problem(
            "disk", f"only {free / 1e6:,.0f} MB are free on {disk_of(folder)}", "Free some space on it."
        )
        return
    if visit.settings is None:
        return
    allowed = visit.settings.renditions.gigabytes * 1e9
    taken = sum(
        file.stat().st_size for file in (folder / "renditions").glob("*/*/*") if file.suffix != ".partial"
    )
    if free < allowed - taken:
        visit.problem(
            "disk",
            f"{free / 1e9:,.1f} GB are free on {disk_of(folder)}, but renditions may take"
            f" {(allowed - taken) / 1e9:,.1f} GB more",
            "Free some space, or set a smaller renditions.gigabytes in mediaflow.yaml.",
        )


def _models(visit: Examination) -> None:
    from mediaflow.models.identity import required_models
    from mediaflow.models.store import installed, verify

    assert visit.settings is not None
    needed = dict.fromkeys(
        model for task in visit.settings.default_tasks() for model in required_models(task)
    )
    missing = [model for model in needed if not installed(model)]
    if missing:
        what = f"{len(missing)} of {count(len(needed), 'model')} are not on this machine"
        visit.problem("models", what, f"mediaflow models pull {' '.join(missing)}")
    if visit.models:
        here = [model for model in needed if model not in missing]
        for wrong in verify(here):
            visit.problem("models", wrong, f"mediaflow models pull {wrong.partition(':')[0]}")
    looked = "every file has its SHA-256" if visit.models else "all files are there (--models reads them)"
    visit.ok("models", f"{count(len(needed), 'model')} in {models_home()}, {looked}")
