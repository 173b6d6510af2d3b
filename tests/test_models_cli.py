"""`mediaflow models`: what it prints and how it ends."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mediaflow.cli.models import app
from mediaflow.errors import UsageError
from tests.installation import mediaflow

runner = CliRunner()


@pytest.fixture(autouse=True)
def _empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDIAFLOW_CONFIGS", raising=False)
    monkeypatch.setenv("MEDIAFLOW_MODELS", str(tmp_path))


def test_the_list_fits_a_terminal_of_80_columns() -> None:
    result = runner.invoke(app, ["list"])
    assert result.exit_code == 0
    assert "whisper-base" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_list_for_scripts_has_stable_keys() -> None:
    rows = json.loads(runner.invoke(app, ["list", "--json"]).stdout)
    keys = {"name", "task", "default", "installed", "size", "licence", "origin", "files"}
    assert all(set(row) == keys for row in rows)
    assert not any(row["installed"] for row in rows)


def test_verify_of_missing_models_ends_with_3_and_says_what_to_run() -> None:
    result = runner.invoke(app, ["verify", "open-nsfw"])
    assert result.exit_code == 3
    assert "is missing" in result.stdout
    assert "Run: mediaflow models pull open-nsfw" in result.stdout


def test_verify_for_scripts_lists_the_problems() -> None:
    result = runner.invoke(app, ["verify", "--json"])
    assert result.exit_code == 3
    answer = json.loads(result.stdout)
    assert answer["ok"] is False
    assert "whisper-base" in answer["models"]
    assert len(answer["problems"]) >= len(answer["models"])


@pytest.mark.parametrize("command", ["pull", "verify"])
def test_an_unknown_name_is_a_wrong_usage(command: str) -> None:
    error = runner.invoke(app, [command, "nope"]).exception
    assert isinstance(error, UsageError)
    assert error.exit_status == 2


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry with one small model, whose source is a file of this machine."""
    content = b"weights" * 1000
    (tmp_path / "source").write_bytes(content)
    file = {"name": "model.bin", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    file |= {"sources": [f"file:{tmp_path / 'source'}"]}
    model = {"task": "ocr", "licence": "MIT", "origin": "a test", "files": [file]}
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "models.yaml").write_text(yaml.safe_dump({"models": {"tiny": model}}))
    monkeypatch.setenv("MEDIAFLOW_CONFIGS", str(configs))
    return "tiny"


@pytest.mark.slow
@pytest.mark.parametrize("inside", [False, True])
def test_weights_outside_of_a_private_home_are_readable_to_others(
    tiny: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    folder = (home if inside else tmp_path) / "weights"
    monkeypatch.setenv("MEDIAFLOW_MODELS", str(folder))
    before = os.umask(0o022)
    try:
        done = mediaflow("models", "pull", tiny)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"Fetching 1 model, once: 7.0 kB, into {folder}\n")
    assert done.stdout == f"Pulled tiny; 1 model in {folder}.\n"
    file = folder / "tiny" / "model.bin"
    assert [path.stat().st_mode & 0o077 for path in (file, file.parent, folder)] == (
        [0, 0, 0] if inside else [0o044, 0o055, 0o055]
    )
    again = mediaflow("models", "pull", tiny)
    assert (again.stderr, again.stdout) == ("", f"Nothing to pull: 1 model in {folder}.\n")
