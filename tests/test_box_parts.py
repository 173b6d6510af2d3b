"""The parts of a box: what is unpacked, how long it lives, what it is born with, its settings."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

import pytest

from mediaflow.errors import ConfigError
from mediaflow.media.rendition import MANIFEST, AudioTrack, Rendition
from mediaflow.settings import load_settings
from tests.installation import ROOT
from workers.box.birth import read_birth
from workers.box.life import Life
from workers.box.renditions import Unfetched, unpack
from workers.box.serve import Entry, gather
from workers.box.settings import adopt

ASSET = "ab" * 32
PICTURE = {"file": "page-0001.jpg", "width": 4, "height": 4, "scale": 1.0, "page": None, "time": None}


def manifest(**said: object) -> bytes:
    plain = {"asset": ASSET, "kind": "video", "media": {}, "pictures": [], "audio": None, "thumbnail": None}
    return json.dumps(plain | said).encode()


def tar(*entries: tuple[tarfile.TarInfo | str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for entry, content in entries:
            head = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            head.size = len(content)
            archive.addfile(head, io.BytesIO(content))
    out.seek(0)
    return out


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    head = tarfile.TarInfo(name)
    head.type, head.linkname = kind, target
    return head


def test_the_files_of_a_rendition_are_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "renditions" / "ab" / ASSET
    size = unpack(tar((MANIFEST, manifest(pictures=[PICTURE])), ("page-0001.jpg", b"jpeg")), folder, Lock())
    rendition = Rendition.load(folder)
    assert rendition is not None
    assert rendition.path(rendition.pictures[0].file).read_bytes() == b"jpeg"
    assert size == 4 + len(manifest(pictures=[PICTURE]))
    assert [path.name for path in folder.parent.iterdir()] == [ASSET]


def test_what_one_task_fetched_is_still_named_when_another_fetched_the_sound(tmp_path: Path) -> None:
    folder = tmp_path / "renditions" / "ab" / ASSET
    unpack(tar((MANIFEST, manifest(pictures=[PICTURE])), ("page-0001.jpg", b"jpeg")), folder, Lock())
    unpack(tar((MANIFEST, manifest(audio="sound.flac")), ("sound.flac", b"flac")), folder, Lock())
    rendition = Rendition.load(folder)
    assert rendition is not None
    assert rendition.pictures
    assert rendition.audio == (AudioTrack("sound.flac"),)


@pytest.mark.parametrize(
    "entry",
    [
        "../evil.jpg",
        "/tmp/evil.jpg",
        "folder/evil.jpg",
        ".hidden",
        "evil\n.jpg",
        "",
        "a" * 300,
        special("link.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        special("link.jpg", tarfile.LNKTYPE, "../../catalog.sqlite"),
        special("pipe", tarfile.FIFOTYPE),
        special("device", tarfile.CHRTYPE),
        special("folder", tarfile.DIRTYPE),
    ],
    ids=lambda entry: entry if isinstance(entry, str) else f"{entry.name} {entry.type!r} {entry.linkname}",
)
def test_a_tar_with_hostile_names_leaves_nothing(tmp_path: Path, entry: tarfile.TarInfo | str) -> None:
    folder = tmp_path / "renditions" / "ab" / ASSET
    with pytest.raises(Unfetched):
        unpack(tar((entry, b""), (MANIFEST, manifest())), folder, Lock())
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
    assert not folder.exists()


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unfetched):
        unpack(tar(("a.jpg", b"1"), ("a.jpg", b"2"), (MANIFEST, manifest())), tmp_path / "ab" / ASSET, Lock())


@pytest.mark.parametrize("length", [0, 300, 600, 1030, 1600, 2000])
def test_a_tar_that_is_cut_short_is_no_rendition(tmp_path: Path, length: int) -> None:
    parts = ((MANIFEST, manifest(pictures=[PICTURE])), ("page-0001.jpg", os.urandom(2000)))
    whole = tar(*parts).getvalue()
    folder = tmp_path / "ab" / ASSET
    with pytest.raises(tarfile.ReadError):
        unpack(io.BytesIO(whole[:length]), folder, Lock())
    assert Rendition.load(folder) is None


def test_a_full_disk_is_said_to_be_one_and_nothing_is_left(tmp_path: Path) -> None:
    """On a real disk of 1 MB, in a mount namespace of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from mediaflow.errors import StorageError
from tests.test_box_parts import *
folder = Path({str(tmp_path)!r}) / "ab" / ASSET
try:
    unpack(tar(("page-0001.jpg", bytes(3_000_000)), (MANIFEST, manifest())), folder, Lock())
except StorageError as error:
    print(error)
print(sorted(path.name for path in folder.parent.iterdir()))
"""
    script = f'mount -t tmpfs -o size=1m none "{tmp_path}" && exec "{sys.executable}" -c "$0"'
    said = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script, code], capture_output=True, text=True, check=False
    )
    assert os.strerror(errno.ENOSPC) in said.stdout, said.stderr
    assert said.stdout.endswith("[]\n")


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "lease", "why"),
    [(59, 3600, ""), (61, 3600, "not been heard"), (31, 30, "lease"), (7201, 10_000, "hours")],
)
def test_a_box_lives_as_long_as_it_may(seconds: float, lease: float, why: str) -> None:
    clock = Clock()
    life = Life(2, 1 if seconds < 7000 else 1000, clock=clock)
    life.heard("work", lease)
    clock.now += seconds
    assert life.over() == bool(why)
    assert why in life.reason


def test_a_word_prolongs_the_silence_that_is_borne_but_not_the_hours(tmp_path: Path) -> None:
    clock, heartbeat = Clock(), tmp_path / "heartbeat"
    life = Life(1, 1, heartbeat, clock)
    for _ in range(59):
        clock.now += 60
        life.heard("work", 120)
        assert not life.over()
    assert heartbeat.exists()
    clock.now += 61
    life.heard("work", 120)
    assert life.over()


def test_an_order_to_drain_can_be_taken_back_and_one_to_end_cannot() -> None:
    life = Life(1, 1)
    life.heard("drain", 100)
    assert life.draining
    assert not life.over()
    life.heard("work", 100)
    assert not life.draining
    life.heard("end", 100)
    life.heard("work", 100)
    assert life.over()


def test_what_a_box_is_born_with_is_in_no_environment_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "GATEWAY": "https://1.2.3.4:8443/",
        "TOKEN": "secret",
        "CERTIFICATE": "UEVN",
        "HOURS": "2",
        "SILENCE": "10",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"MEDIAFLOW_BOX_{name}", value)
    monkeypatch.setenv("CONTAINER_API_KEY", "another secret")
    birth = read_birth()
    assert (birth.gateway, birth.certificate, birth.hours) == ("https://1.2.3.4:8443", "PEM", 2)
    assert not any(value in ("secret", "another secret") for value in os.environ.values())
    assert "secret" not in repr(birth)


@pytest.mark.parametrize(
    ("name", "value"),
    [("GATEWAY", "http://1.2.3.4"), ("TOKEN", ""), ("CERTIFICATE", "?"), ("HOURS", "-1"), ("HOURS", "nan")],
)
def test_a_box_that_is_born_wrong_says_which_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    given = {
        "GATEWAY": "https://1.2.3.4",
        "TOKEN": "secret",
        "CERTIFICATE": "UEVN",
        "HOURS": "2",
        "SILENCE": "10",
    }
    for each, right in (given | {name: value}).items():
        monkeypatch.setenv(f"MEDIAFLOW_BOX_{each}", right)
    with pytest.raises(ConfigError, match=f"MEDIAFLOW_BOX_{name}"):
        read_birth()


def test_a_child_gets_many_short_recordings_at_once_and_few_long_ones() -> None:
    """So that results come every minute or two, whatever is in the files."""
    for weight, most in ((1.0, 128), (180.0, 3), (5000.0, 1)):
        ready: SimpleQueue[Entry] = SimpleQueue()
        for number in range(200):
            ready.put(Entry(str(number), {}, "", weight))
        assert len(gather(ready, together=32)) == most


def test_a_box_works_by_the_gateways_settings_fitted_to_its_machine(
    home: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_CONFIGS", os.environ["MEDIAFLOW_CONFIGS"])  # put back after the test
    adopt(load_settings().model_dump(mode="json"), "models: {}\n", ["look"], memory_gb=16)
    settings = load_settings()
    assert settings.device == "auto"
    assert settings.tasks["look"].batch == 4
    assert settings.tasks["look"].memory_mb == 12_800
    with pytest.raises(ConfigError, match="no task 'other'"):
        adopt(settings.model_dump(mode="json"), "models: {}\n", ["other"], memory_gb=16)
