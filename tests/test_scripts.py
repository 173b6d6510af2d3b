"""The two commands of a fresh clone: what they install and make, and what they say when they cannot."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts.list_licences import stale

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted((ROOT / "configs").glob("requirements*.lock"))
HEAVY = {"av", "cv2", "ctranslate2", "faiss", "onnxruntime", "sentence_transformers", "torch", "transformers"}


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without a terminal."""
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,  # type: ignore[call-overload]
    )


def locked(lock: Path) -> dict[str, str]:
    """The versions of a lock, by package."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def asked(requirements: list[str]) -> set[str]:
    """The names in a list of requirements."""
    return {re.split(r"[<>=\[ ;]", line)[0].lower() for line in requirements if line and line[0] not in "#-"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_every_package_by_hash_and_names_no_index(lock: Path) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", lock.read_text())
    assert all(
        re.match(r"[a-z0-9-]+==\S+(?: ; .+)? \\\n    --hash=sha256:[0-9a-f]{64}", entry) for entry in entries
    )
    assert "://" not in lock.read_text()
    assert "index-url" not in lock.read_text()


def test_no_lock_brings_what_a_bare_server_cannot_load_or_hold() -> None:
    names = {name for lock in LOCKS for name in locked(lock)}
    assert not names & {"opencv-python", "opencv-contrib-python", "torch", "tensorflow"}
    assert not [name for name in names if name.startswith("nvidia")]
    assert "opencv-python-headless" in locked(ROOT / "configs" / "requirements.lock")


def test_the_list_of_licences_names_all_that_is_locked() -> None:
    assert stale() == []


def test_no_licence_is_unknown_or_asks_for_our_own_text() -> None:
    page = (ROOT / "docs" / "licences.md").read_text()
    assert "| ? |" not in page
    assert "AGPL" not in page


def test_the_project_and_the_lock_ask_for_the_same_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "configs" / "requirements.in").read_text().splitlines()
    only_for_the_lock = {"setuptools", "backports-strenum"}
    assert asked(lines) - only_for_the_lock == asked(project["dependencies"])


def test_no_two_locks_disagree_on_a_version() -> None:
    together: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in locked(lock).items():
            together.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in together.items() if len(versions) > 1} == {}


def test_only_the_headless_opencv_is_installed_and_it_imports() -> None:
    installed = {(found.metadata["Name"] or "").lower() for found in importlib.metadata.distributions()}
    assert "opencv-python" not in installed
    assert run(sys.executable, "-c", "import cv2; cv2.imread").returncode == 0


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, mediaflow.cli.app; print(*{name.split('.')[0] for name in sys.modules})"
    imported = run(sys.executable, "-c", code, cwd=ROOT)
    assert imported.returncode == 0, imported.stderr
    assert not HEAVY & set(imported.stdout.split())


@pytest.mark.parametrize("version", [None, "3.10", "3.14"])
def test_without_a_python_that_fits_setup_says_what_to_install(tmp_path: Path, version: str | None) -> None:
    clone = bare_clone(tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "flock", "sed", "uname"):
        (tools / name).symlink_to(str(shutil.which(name)))
    if version:
        (tools / "python3").write_text(f"#!/bin/sh\necho {version}\n")
        (tools / "python3").chmod(0o755)
    ended = run(clone / "scripts" / "setup", env={"PATH": str(tools)})
    assert ended.returncode == 3
    assert "Python 3.11, 3.12 or 3.13 is needed" in ended.stderr
    assert re.search(r"(apt-get|dnf) install python3|its venv module", ended.stderr)
    assert not version or f"python3 is Python {version}" in ended.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.slow
def test_a_moved_clone_is_noticed_and_its_environment_made_again(tmp_path: Path) -> None:
    nowhere = os.environ | {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    nowhere |= {"PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1", "PIP_FIND_LINKS": ""}
    clone = bare_clone(tmp_path)
    run(clone / "scripts" / "setup", env=nowhere)
    assert "was moved" not in run(clone / "scripts" / "setup", env=nowhere).stdout
    moved = clone.rename(tmp_path / "elsewhere")
    ended = run(moved / "scripts" / "setup", env=nowhere)
    assert f"this clone was moved from {clone}: making .venv again" in ended.stdout
    assert (moved / ".venv" / ".stamps" / "place").read_text() == str(moved)
    assert f"{moved}/.venv" in (moved / ".venv" / "bin" / "activate").read_text()


@pytest.mark.parametrize(
    "script", ["setup", "demo", "test", "lock", "benchmark", "check-install", "check-systems", "licences"]
)
def test_a_script_explains_itself_from_any_folder(script: str, tmp_path: Path) -> None:
    ended = run(ROOT / "scripts" / script, "--help", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"scripts/{script}" in ended.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["home"]


@pytest.mark.slow
def test_without_an_index_setup_fails_with_the_next_step_and_can_be_run_again(tmp_path: Path) -> None:
    clone = bare_clone(tmp_path)
    nowhere = {
        **os.environ,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_RETRIES": "0",
    }
    nowhere |= {"PIP_NO_CACHE_DIR": "1", "PIP_FIND_LINKS": ""}
    for _ in range(2):
        ended = run(clone / "scripts" / "setup", env=nowhere)
        assert ended.returncode == 3
        assert "pip config list" in ended.stderr
        assert "ready" not in ended.stdout


def bare_clone(folder: Path) -> Path:
    """What scripts/setup reads of a clone, in a folder of its own."""
    clone = folder / "a clone"
    for name in ("scripts", "configs"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", clone)
    return clone


@pytest.mark.parametrize(
    ("script", "argument"),
    [("setup", "--everything"), ("demo", "--all"), ("demo", "/there/is/no/such/folder")],
)
def test_a_wrong_argument_is_refused_before_anything_is_done(script: str, argument: str) -> None:
    ended = run(ROOT / "scripts" / script, argument)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr


@pytest.mark.slow
def test_setup_with_nothing_to_do_asks_nobody() -> None:
    if not (ROOT / ".venv" / ".stamps" / "requirements").exists():
        pytest.skip("this clone's .venv was not made by scripts/setup")
    assert run(ROOT / "scripts" / "setup").returncode == 0
    nowhere = os.environ | {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "0"}
    ended = run(ROOT / "scripts" / "setup", env=nowhere)
    assert (ended.returncode, ended.stdout) == (0, "setup: ready: .venv/bin/mediaflow\n")


def make_sample(folder: Path) -> subprocess.CompletedProcess[str]:
    """The sample folder; its wheels stay in the clone, as those of the demo."""
    return run(
        sys.executable, ROOT / "scripts" / "make_sample.py", folder, "--wheels", ROOT / ".demo" / "wheels"
    )


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_folder_that_is_no_sample_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    ended = make_sample(tmp_path)
    assert ended.returncode == 1
    assert "is not a sample folder" in ended.stderr
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_the_sample_is_what_people_have_and_comes_out_the_same_each_time(tmp_path: Path) -> None:
    from PIL import Image

    first, second = tmp_path / "first", tmp_path / "second"
    assert make_sample(first).stdout.startswith("made")
    assert make_sample(first).stdout.startswith("there is")
    assert make_sample(second).returncode == 0
    made = hashes(first)
    assert made == hashes(second)
    assert {Path(name).suffix for name in made} >= {
        ".jpg",
        ".heic",
        ".avif",
        ".png",
        ".tif",
        ".mp3",
        ".m4a",
        ".opus",
        ".mp4",
    }
    assert made["photos/IMG_2048.png"] == made["photos/IMG_2048 (1).png"]
    with Image.open(first / "scans" / "scan_002.tif") as scan:
        assert scan.n_frames == 2
    with Image.open(first / "photos" / "IMG_2041.jpg") as photo:
        assert photo.getexif()[0x0112] == 6


@pytest.mark.long
@pytest.mark.slow
def test_the_demo_finds_an_image_a_text_and_a_recording_and_looks_at_nothing_twice() -> None:
    first = run(ROOT / "scripts" / "demo", timeout=500)
    assert first.returncode == 0, first.stdout + first.stderr
    second = run(ROOT / "scripts" / "demo", timeout=300)
    assert second.returncode == 0, second.stdout + second.stderr
    for done in (first, second):
        assert len(re.findall(r"^ok: .* found by its (?:image|ocr|speech)$", done.stdout, re.MULTILINE)) == 3
    assert " 0 new, " in second.stdout + second.stderr
