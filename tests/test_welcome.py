"""What a box is told when it comes: the settings and models of its tasks, and no path of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mediaflow.models.registry import load_registry
from mediaflow.settings import configs, load_settings
from workers.gateway.gateway import tasks_of_boxes
from workers.gateway.welcome import models_for, settings_for


@pytest.fixture
def private(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configurations with a model whose file is on this machine, and an encoder that is a folder."""
    folder = home / "configs"
    folder.mkdir()
    for name in ("mediaflow.yaml", "fleet.yaml"):
        (folder / name).write_text((configs() / name).read_text())
    models = yaml.safe_load((configs() / "models.yaml").read_text())["models"]
    files = models["open-nsfw"]["files"]
    files[0]["sources"] = [f"file:{home}/secret/model", *files[0]["sources"]]
    files[-1]["sources"] = [[f"file:{home}/secret/a", f"file:{home}/secret/b"]]
    (folder / "models.yaml").write_text(json.dumps({"models": models}))
    monkeypatch.setenv("MEDIAFLOW_CONFIGS", str(folder))
    load_settings.cache_clear()
    return home


def test_only_models_of_the_tasks_are_told_and_no_source_that_is_a_path(private: Path) -> None:
    told = models_for(["nsfw"])
    assert str(private) not in told
    listed = private / "told.yaml"
    listed.write_text(told)
    read, here = load_registry(listed), load_registry()
    assert list(read) == ["open-nsfw"]
    for theirs, ours in zip(read["open-nsfw"].files, here["open-nsfw"].files, strict=True):
        assert (theirs.name, theirs.size, theirs.sha256) == (ours.name, ours.size, ours.sha256)
        assert theirs.sources, "a box asks the gateway where there is no other source"


def test_only_settings_of_the_tasks_are_told(private: Path) -> None:
    assert list(settings_for(load_settings(), ["nsfw"])["tasks"]) == ["nsfw"]


def test_an_encoder_that_is_a_folder_is_no_work_for_boxes(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_FLEET__LIBRARIES", '{"default": ["nsfw", "embed"]}')
    assert set(tasks_of_boxes()) == {"nsfw", "embed"}
    monkeypatch.setenv("MEDIAFLOW_SPACES__TEXT", f"file:{private}/secret/encoder")
    load_settings.cache_clear()
    assert tasks_of_boxes() == ["nsfw"]
    assert "secret" not in json.dumps(settings_for(load_settings(), tasks_of_boxes()))
