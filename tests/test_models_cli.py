"""`mediaflow models`: what it prints and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mediaflow.cli.models import app
from mediaflow.errors import UsageError

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
