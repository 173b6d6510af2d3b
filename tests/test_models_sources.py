"""Sources: how the hub and this machine's files are asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from models_server import Server, serve

from mediaflow.models.download import SourceError
from mediaflow.models.registry import Part
from mediaflow.models.sources import fetch

REVISION = "0123456789abcdef0123456789abcdef01234567"
PART = Part.parse(f"hf:owner/repo@{REVISION}#onnx/model.bin")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serve() as server:
        server.files[f"/owner/repo/resolve/{REVISION}/onnx/model.bin"] = b"weights"
        for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
        yield server


def ignore(_: float) -> None:
    pass


def test_the_hub_is_asked_for_the_pinned_revision(hub: Server, tmp_path: Path) -> None:
    fetch(PART, tmp_path / "file", 7, ignore)
    assert (tmp_path / "file").read_bytes() == b"weights"
    assert hub.requests == [(f"/owner/repo/resolve/{REVISION}/onnx/model.bin", "bytes=0-6")]
    assert hub.authorizations == [None]


def test_a_token_is_sent_to_the_hub(hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    fetch(PART, tmp_path / "file", 7, ignore)
    assert hub.authorizations == ["Bearer secret"]


def test_offline_the_hub_is_not_asked(hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE is set"):
        fetch(PART, tmp_path / "file", 7, ignore)
    assert hub.requests == []


def test_a_file_that_the_hub_does_not_have_is_told(hub: Server, tmp_path: Path) -> None:
    hub.files.clear()
    with pytest.raises(SourceError, match="HTTP 404"):
        fetch(PART, tmp_path / "file", 7, ignore)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        fetch(Part.parse(f"file:{tmp_path}"), tmp_path / "file", None, ignore)
    assert list(tmp_path.glob("file*")) == []
