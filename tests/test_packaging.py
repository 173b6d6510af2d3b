"""The wheel: it carries the configuration, and runs in a folder without the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.installation import ROOT

FILES = {"mediaflow.yaml", "fleet.yaml", "models.yaml"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel holds, unpacked; built from a copy, as setuptools leaves build/ behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    left_out = shutil.ignore_patterns("__pycache__")
    for name in ("mediaflow", "jobs", "workers", "configs"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=left_out)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    command = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder)
    subprocess.run([*command, source], check=True, capture_output=True)
    shutil.rmtree(source)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def ask(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in another folder, with the unpacked wheel before everything else."""
    return subprocess.run(
        [sys.executable, *words],
        env=os.environ | {"PYTHONPATH": str(installed)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_wheel_carries_what_the_program_reads_and_nothing_of_the_set_up(installed: Path) -> None:
    assert {entry.name for entry in (installed / "mediaflow" / "configs").iterdir()} == FILES
    assert (installed / "mediaflow" / "models" / "concepts.txt").is_file()
    assert {entry.name for entry in installed.iterdir() if not entry.name.endswith(".dist-info")} == {
        "mediaflow",
        "jobs",
        "workers",
    }


@pytest.mark.slow
def test_an_installed_program_reads_its_own_files_and_finds_its_workers(
    installed: Path, tmp_path: Path
) -> None:
    places = "from mediaflow.settings import configs, load_settings as s; print(configs(), len(s().tasks))"
    done = ask(installed, tmp_path, "-c", places)
    assert done.stdout == f"{installed}/mediaflow/configs 5\n", done.stderr
    listed = ask(installed, tmp_path, "-m", "mediaflow", "models", "list")
    assert "rapidocr-ppocrv6" in listed.stdout, listed.stderr
    worker = ask(installed, tmp_path, "-m", "mediaflow", "worker", "no-such-queue")
    assert worker.returncode == 2, worker.stderr
    assert "no-such-queue" in worker.stderr


def test_the_clone_s_own_folder_is_the_one_a_person_edits() -> None:
    from mediaflow.settings import configs

    assert configs() == ROOT / "configs"
    assert {path.name for path in configs().glob("*.yaml")} == FILES
