"""Settings: one file, overridden by variables, and a wrong key or value is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaflow.errors import ConfigError
from mediaflow.fleet.settings import load_fleet
from mediaflow.models.registry import load_registry
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


def own_file(home: Path, text: str, name: str = "mediaflow.yaml") -> Path:
    """A configuration file of the user's, in the default place."""
    path = home / "config" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    load_settings.cache_clear()
    return path


def test_the_user_s_file_overrides_single_values_and_a_variable_overrides_both(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_settings()
    own_file(home, "tasks:\n  embed: {batch: 3}\nrenditions: {days: 2}\n")
    settings = load_settings()
    assert settings.tasks["embed"] == before.tasks["embed"].model_copy(update={"batch": 3})
    assert settings.renditions == before.renditions.model_copy(update={"days": 2})
    assert list(settings.tasks) == list(before.tasks)
    monkeypatch.setenv("MEDIAFLOW_RENDITIONS__DAYS", "1")
    load_settings.cache_clear()
    assert load_settings().renditions.days == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("device: cpu\ncolour: red\n", r"config/mediaflow\.yaml, line 2: there is no setting 'colour'"),
        ("prepare:\n  workers: 0\n", r"config/mediaflow\.yaml, line 2: prepare\.workers = 0 is wrong"),
        ("tasks: 3\n", r"config/mediaflow\.yaml, line 1: tasks = 3 is wrong"),
        ("- a list\n", "must hold keys and values"),
    ],
)
def test_a_mistake_in_the_user_s_file_is_refused_with_that_file_and_its_line(
    home: Path, text: str, words: str
) -> None:
    own_file(home, text)
    with pytest.raises(ConfigError, match=words):
        load_settings()


def test_an_empty_file_of_the_user_s_changes_nothing(home: Path) -> None:
    before = load_settings()
    own_file(home, "# nothing yet\n")
    assert load_settings() == before


def test_the_user_s_files_add_a_model_and_change_the_fleet(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = "{task: ocr, licence: MIT, origin: mine, files: [{name: a, size: 1, sha256: " + "a" * 64
    own_file(tmp_path, "models:\n  mine: " + model + ", sources: ['file:/nowhere/a']}]}\n", "models.yaml")
    own_file(tmp_path, "caps: {boxes: 7}\n", "fleet.yaml")
    before = load_fleet()
    monkeypatch.setenv("MEDIAFLOW_CONFIG", str(tmp_path / "config"))
    load_fleet.cache_clear()
    assert load_registry()["mine"].origin == "mine"
    assert "rapidocr-ppocrv6" in load_registry()
    assert load_fleet() == before.model_copy(update={"caps": before.caps.model_copy(update={"boxes": 7})})


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
