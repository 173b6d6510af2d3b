"""models.yaml: what it may say, and how a mistake in it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaflow.errors import ConfigError, UsageError
from mediaflow.models.registry import Part, find_model, load_registry

GOOD = """\
models:
  tiny:
    task: ocr
    licence: MIT
    origin: a test
    files:
      - name: model.bin
        size: 3
        sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
        sources:
          - file:/srv/model.bin
          - [pypi:one==1.0#a/b.part1, pypi:two==1.0#a/b.part2]
"""


def registry(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "models.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_entry_is_read_with_its_pieces(tmp_path: Path) -> None:
    model = load_registry(registry(tmp_path, GOOD))["tiny"]
    assert (model.task, model.default, model.size) == ("ocr", False, 3)
    whole, pieces = model.files[0].sources
    assert whole == (Part(kind="file", path="/srv/model.bin"),)
    assert [str(part) for part in pieces] == ["pypi:one==1.0#a/b.part1", "pypi:two==1.0#a/b.part2"]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("    task: ocr", "    tusk: ocr", 2, "task"),
        ("        size: 3", "        size: 3\n        sise: 4", 9, "sise"),
        ("size: 3", "size: 0", 8, "greater than 0"),
        ("sha256: 2c", "sha256: zz", 9, "sha256"),
        ("name: model.bin", "name: ../model.bin", 7, "plain relative path"),
        ("file:/srv/model.bin", "file:model.bin", 10, "file:/absolute/path"),
        ("file:/srv/model.bin", "ftp:/srv/model.bin", 10, "must start with one of: pypi:, hf:, file:"),
        ("file:/srv/model.bin", "hf:owner/repo@main#model.bin", 10, "commit of 40 hex digits"),
        ("pypi:one==1.0#", "pypi:one>=1.0#", 10, "PACKAGE==VERSION"),
        ("  tiny:", "  Tiny!:", 1, "cannot name a model"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in GOOD
    path = registry(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError) as told:
        load_registry(path)
    assert f"{path}, line {line}: " in str(told.value)
    assert words in str(told.value)


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.yaml, line 3"):
        load_registry(registry(tmp_path, "models:\n  a: [1\n  b: 2\n"))


def test_a_missing_file_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="MEDIAFLOW_CONFIGS"):
        load_registry(tmp_path / "models.yaml")


def test_an_unknown_name_is_answered_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDIAFLOW_CONFIGS", raising=False)
    with pytest.raises(UsageError, match="whisper-base"):
        find_model("nope")


def test_the_default_models_need_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDIAFLOW_CONFIGS", raising=False)
    defaults = [model for model in load_registry().values() if model.default]
    assert {"ocr", "nsfw", "embed", "transcribe"} <= {model.task for model in defaults}
    for model in defaults:
        for file in model.files:
            assert any(all(part.kind == "pypi" for part in source) for source in file.sources), file.name


def test_tasks_of_the_settings_name_models_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from mediaflow.settings import load_settings

    monkeypatch.delenv("MEDIAFLOW_CONFIGS", raising=False)
    known = load_registry()
    assert [task.model for task in load_settings().tasks.values() if task.model not in {"", *known}] == []
