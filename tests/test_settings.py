"""Settings: one file, overridden by variables, and a wrong key or value is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaflow.errors import ConfigError
from mediaflow.settings import configs, home, load_settings, models_home


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration file of the test's own."""
    monkeypatch.setenv("MEDIAFLOW_CONFIGS", str(tmp_path))
    return tmp_path / "mediaflow.yaml"


def test_the_settings_that_come_with_it_are_right() -> None:
    settings = load_settings()
    assert settings.default_tasks() == [task for task in settings.tasks if settings.tasks[task].default]
    assert settings.tasks["pose"].default is False


def test_a_variable_overrides_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_TASKS__OCR__WORKERS", "3")
    monkeypatch.setenv("MEDIAFLOW_DEVICE", "cpu")
    settings = load_settings()
    assert (settings.tasks["ocr"].workers, settings.device) == (3, "cpu")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tasks: {}\ncolour: red\n", r"mediaflow\.yaml, line 2: there is no setting 'colour'"),
        ("tasks:\n  ocr: {module: m}\nprepare:\n  workers: 0\n", r"line 4: prepare\.workers = 0 is wrong"),
        ("tasks:\n  ocr: {batch: 3}\n", r"line 2: tasks\.ocr\.module"),
        ("tasks: [\n", r"mediaflow\.yaml, line 2"),
        ("just words", "must hold keys and values"),
    ],
)
def test_a_mistake_in_the_file_is_refused_with_its_line(written: Path, text: str, words: str) -> None:
    written.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_settings()


def test_a_file_that_cannot_be_read_is_refused(written: Path) -> None:
    with pytest.raises(ConfigError, match="MEDIAFLOW_CONFIGS"):
        load_settings()
    written.write_bytes(b"tasks: \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MEDIAFLOW_TASKS__OCR__BATCH", "lots"),
        ("MEDIAFLOW_TASKS__OCR__BATCH__X", "1"),
        ("MEDIAFLOW_TASKS__OCR", ""),
        ("MEDIAFLOW_COLOUR", "red"),
        ("MEDIAFLOW_DEVICE", "{"),
    ],
)
def test_a_mistake_in_a_variable_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"variable {name}"):
        load_settings()


def test_places_are_absolute_wherever_the_command_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDIAFLOW_HOME", "state")
    monkeypatch.delenv("MEDIAFLOW_MODELS")
    assert home() == tmp_path / "state"
    assert models_home() == tmp_path / "state" / "models"
    assert (configs() / "mediaflow.yaml").is_file()
