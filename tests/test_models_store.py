"""The store: files get in verified or not at all, and a pull can be stopped, repeated and doubled."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from models_server import Server, serve

from mediaflow.errors import ModelError
from mediaflow.models import download, store

ROOT = Path(__file__).resolve().parents[1]
REVISION = "0123456789abcdef0123456789abcdef01234567"
CONTENT = bytes(range(256)) * 4096  # 1 MiB
Write = Callable[..., Path]


@pytest.fixture
def write_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write models.yaml with one model, `tiny`, of one file with these sources; its path when pulled."""
    monkeypatch.setenv("MEDIAFLOW_CONFIGS", str(tmp_path / "configs"))
    monkeypatch.setenv("MEDIAFLOW_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(download, "_answers", {})
    (tmp_path / "configs").mkdir()

    def write(*sources: str | list[str], content: bytes = CONTENT) -> Path:
        digest = hashlib.sha256(content).hexdigest()
        file = {"name": "model.bin", "size": len(content), "sha256": digest, "sources": list(sources)}
        model = {"task": "ocr", "licence": "MIT", "origin": "a test", "files": [file]}
        (tmp_path / "configs" / "models.yaml").write_text(yaml.safe_dump({"models": {"tiny": model}}))
        return tmp_path / "models" / "tiny" / "model.bin"

    return write


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A hub on this machine that has owner/repo with model.bin."""
    with serve() as server:
        server.files[f"/owner/repo/resolve/{REVISION}/model.bin"] = CONTENT
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


HUB = f"hf:owner/repo@{REVISION}#model.bin"


def some_file(tmp_path: Path, name: str, content: bytes) -> str:
    (tmp_path / name).write_bytes(content)
    return f"file:{tmp_path / name}"


def start_pull() -> subprocess.Popen[str]:
    """`mediaflow models pull tiny`, as a process of its own."""
    code = "import sys; from mediaflow.cli.models import app; app(['pull', 'tiny'])"
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_pulled_file_is_the_pinned_one_and_nothing_else_is_left(
    tmp_path: Path, write_registry: Write
) -> None:
    path = write_registry(some_file(tmp_path, "source", CONTENT))
    assert not store.installed("tiny")
    assert store.pull(["tiny"]) == ["tiny"]
    assert path.read_bytes() == CONTENT
    assert store.installed("tiny")
    assert store.model_folder("tiny") == path.parent
    assert {entry.name for entry in path.parent.iterdir()} == {"model.bin", ".lock"}


def test_a_second_pull_fetches_nothing(hub: Server, write_registry: Write) -> None:
    write_registry(HUB)
    store.pull(["tiny"])
    asked = len(hub.requests)
    assert store.pull(["tiny"]) == []
    assert len(hub.requests) == asked


def test_pieces_are_joined_in_their_order(tmp_path: Path, write_registry: Write) -> None:
    pieces = [some_file(tmp_path, "one", CONTENT[:1000]), some_file(tmp_path, "two", CONTENT[1000:])]
    path = write_registry(pieces)
    store.pull(["tiny"])
    assert path.read_bytes() == CONTENT


def test_a_wrong_file_is_thrown_away_and_the_next_source_tried(tmp_path: Path, write_registry: Write) -> None:
    wrong = some_file(tmp_path, "wrong", CONTENT[:-1] + b"?")
    path = write_registry(wrong, some_file(tmp_path, "right", CONTENT))
    notes: list[str] = []
    store.pull(["tiny"], lambda progress: notes.append(progress.note))
    assert path.read_bytes() == CONTENT
    assert any("SHA-256" in note and "thrown away" in note for note in notes)


def test_when_no_source_answers_each_is_named_with_its_reason(tmp_path: Path, write_registry: Write) -> None:
    wrong = some_file(tmp_path, "wrong", b"?" * len(CONTENT))
    path = write_registry(f"file:{tmp_path}/nowhere", wrong)
    with pytest.raises(ModelError) as told:
        store.pull(["tiny"])
    message = str(told.value)
    assert f"file:{tmp_path}/nowhere\n    no such file" in message
    assert f"{wrong}\n    what came has SHA-256" in message
    assert f"put the file at {path}" in message
    assert not path.exists()


def test_a_file_put_there_by_hand_is_taken(tmp_path: Path, write_registry: Write) -> None:
    path = write_registry(f"file:{tmp_path}/nowhere")
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert store.pull(["tiny"]) == []
    assert store.model_folder("tiny") == path.parent


def test_a_missing_model_says_how_to_get_it(tmp_path: Path, write_registry: Write) -> None:
    write_registry(f"file:{tmp_path}/nowhere")
    with pytest.raises(ModelError, match=r"missing.*mediaflow models pull tiny"):
        store.model_folder("tiny")


def test_one_changed_byte_keeps_a_model_from_being_loaded(tmp_path: Path, write_registry: Write) -> None:
    path = write_registry(some_file(tmp_path, "source", CONTENT))
    store.pull(["tiny"])
    path.write_bytes(b"?" + CONTENT[1:])
    assert store.installed("tiny")  # cheap: looks at sizes only
    assert len(store.verify(["tiny"])) == 1
    with pytest.raises(ModelError, match="SHA-256"):
        store.model_folder("tiny")
    assert store.pull(["tiny"]) == ["tiny"]
    assert store.verify(["tiny"]) == []


def test_a_folder_that_cannot_be_written_is_a_model_error(
    tmp_path: Path, write_registry: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_registry(some_file(tmp_path, "source", CONTENT))
    (tmp_path / "plain").write_text("a file where a folder should be")
    monkeypatch.setenv("MEDIAFLOW_MODELS", str(tmp_path / "plain"))
    with pytest.raises(ModelError, match="MEDIAFLOW_MODELS"):
        store.pull(["tiny"])


def test_what_lay_half_fetched_and_damaged_is_fetched_again(hub: Server, write_registry: Write) -> None:
    path = write_registry(HUB)
    hub.bytes_a_second = 400_000
    process = start_pull()
    wait_until(lambda: list(path.parent.glob(".partial/*.partial")))
    process.kill()
    process.communicate()
    (half,) = path.parent.glob(".partial/*.partial")
    half.write_bytes(bytes(half.stat().st_size or 5))
    hub.bytes_a_second = None
    store.pull(["tiny"])
    assert path.read_bytes() == CONTENT


def test_an_unreachable_hub_fails_fast_and_the_next_source_is_tried(
    tmp_path: Path, write_registry: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_registry(HUB, some_file(tmp_path, "source", CONTENT))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    store.pull(["tiny"])
    assert time.monotonic() - began < download.CONNECT_SECONDS + 1
    assert path.read_bytes() == CONTENT


@pytest.mark.slow
def test_of_two_processes_one_fetches_and_the_other_waits_and_says_so(
    hub: Server, write_registry: Write
) -> None:
    path = write_registry(HUB)
    hub.bytes_a_second = 500_000
    first = start_pull()
    wait_until(lambda: hub.sent > 0)
    second = start_pull()
    told = [process.communicate(timeout=30)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], told
    assert "another process pulls this model" in told[1]
    assert "Nothing to pull" in told[1]
    assert path.read_bytes() == CONTENT
    assert hub.sent == len(CONTENT)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_pull_goes_on_where_it_was(
    hub: Server, write_registry: Write, number: signal.Signals
) -> None:
    path = write_registry(HUB)
    hub.bytes_a_second = 500_000
    process = start_pull()
    wait_until(lambda: hub.sent > 200_000)
    os.kill(process.pid, number)
    told, _ = process.communicate(timeout=10)
    assert "Traceback" not in told
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    (half,) = path.parent.glob(".partial/*.partial")
    there = half.stat().st_size
    assert there > 0
    hub.bytes_a_second, hub.requests = None, []
    store.pull(["tiny"])
    assert path.read_bytes() == CONTENT
    assert hub.requests[0][1] == f"bytes={there}-{len(CONTENT) - 1}"


def test_one_model_that_cannot_be_had_keeps_no_other_from_coming(
    tmp_path: Path, write_registry: Write
) -> None:
    path = write_registry(some_file(tmp_path, "source", CONTENT))
    registry = tmp_path / "configs" / "models.yaml"
    models = yaml.safe_load(registry.read_text())["models"]
    gone = yaml.safe_load(yaml.safe_dump(models["tiny"]))
    gone["files"][0]["sources"] = [f"file:{tmp_path}/nowhere"]
    registry.write_text(yaml.safe_dump({"models": {"gone": gone, **models}}, sort_keys=False))
    with pytest.raises(ModelError, match="Model gone: no source gives"):
        store.pull(["gone", "tiny"])
    assert path.read_bytes() == CONTENT
