"""The worked example of docs/adding-a-task.md, run as it stands there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.installation import ROOT, answer, mediaflow

DOCUMENT = (ROOT / "docs" / "adding-a-task.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first code block of a language in the document."""
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.slow
def test_the_example_of_a_new_task_works_as_documented(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "example_colours.py").write_text(block("python"), encoding="utf-8")
    configs = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", configs)
    settings = configs / "mediaflow.yaml"
    entry = block("yaml").replace("jobs.colours", "example_colours")
    settings.write_text(settings.read_text().replace("tasks:\n", f"tasks:\n{entry}", 1))
    monkeypatch.setenv("MEDIAFLOW_CONFIGS", str(configs))
    monkeypatch.setenv("PYTHONPATH", str(code))
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(media / "images" / "labelled" / "chelsea.png", photos)

    done = answer("submit", "--wait", "--tasks", "colours", str(photos))
    finding = answer("show", str(photos / "chelsea.png"))["findings"]["colours"]

    assert (done["done"], done["failed"]) == (1, 0)
    assert len(finding["colours"]) == 5
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in finding["colours"])
    assert "colours" in mediaflow("show", str(photos / "chelsea.png")).stdout
