"""A real box on a processor, at a real gateway: from submit to results, and all the ways in which it ends."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml

from mediaflow.settings import load_settings
from tests.boxes import GatewayProcess, box_of, change_box, enter_box, gateway_process
from tests.chaos.clock import Clock
from tests.installation import ROOT, Installation, answer, paint, paint_many, until
from tests.market_server import MarketServer, market_server
from tests.played_gateway import make_certificate
from tests.real_box import assets, birth, real_box, settle

pytestmark = pytest.mark.slow
LABEL = "mediaflow-test-a"


@pytest.fixture
def gateway(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayProcess]:
    """An installation whose heavy tasks have no worker of its own, and its gateway."""
    monkeypatch.setenv("MEDIAFLOW_TASKS__LOOK__WORKERS", "0")
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    installation.queues = {"prepare", "index"}
    installation.up()
    with gateway_process(installation.home) as running:
        yield running


@pytest.fixture
def market() -> Iterator[MarketServer]:
    with market_server() as market:
        yield market


def born(gateway: GatewayProcess, label: str = LABEL, **limits: Any) -> dict[str, str]:
    """A box of this label in the ledger, and its variables."""
    return birth(enter_box(label), f"https://127.0.0.1:{gateway.port}", **limits)


def submit(folder: Path, count: int, colour: str = "grey") -> None:
    paint_many(folder, count, colour)
    answer("submit", str(folder))


def test_a_box_does_a_run_and_leaves_nothing_of_it(
    installation: Installation, gateway: GatewayProcess, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 40)
    with real_box(tmp_path / "box", born(gateway)) as box:
        until(lambda: box_of(LABEL).done == 40, "it did all, and the ledger knows")
        assert sorted(box.calls()) == assets(installation)
        assert not installation.calls()
        assert box_of(LABEL).busy > 0, "how long it took is known"
        assert box_of(LABEL).worth > 0, "and how long its GPU takes for as much"
        until(lambda: not box.renditions(), "its renditions are gone")
        settle(installation)
        assert installation.states() == {"done": 40}
        hardware = box_of(LABEL).hardware
        assert hardware["cores"] >= 1
        assert {check["name"] for check in hardware["checks"]} == {"gpu", "memory", "disk", "link"}


def test_a_file_that_kills_the_models_costs_the_box_one_file(
    installation: Installation, gateway: GatewayProcess, tmp_path: Path
) -> None:
    paint(tmp_path / "pictures" / "crash.png", "red")
    paint(tmp_path / "pictures" / "raises.png", "magenta")
    submit(tmp_path / "pictures", 12)
    with real_box(tmp_path / "box", born(gateway)) as box:
        until(lambda: box_of(LABEL).done == 12, "the others are done")
        assert box.process.poll() is None


def test_a_box_whose_models_cannot_be_loaded_gives_its_items_back(
    installation: Installation, gateway: GatewayProcess, market: MarketServer, tmp_path: Path
) -> None:
    (tmp_path / "box" / "home").mkdir(parents=True)
    (tmp_path / "box" / "home" / "no-model").touch()
    submit(tmp_path / "pictures", 6)
    with real_box(tmp_path / "box", born(gateway), market.environment) as box:
        until(lambda: "No look on this box: the model is not there" in box.said(), "it gives up")
        until(lambda: "cannot do look: the model is not there" in box_of(LABEL).trouble, "that is known here")
        assert box.ends() == 0
        settle(installation)
        assert installation.states() == {"done": 6}
        assert len(installation.calls()) == 6


def test_a_box_whose_models_are_loaded_at_the_second_try_goes_on(
    installation: Installation, gateway: GatewayProcess, tmp_path: Path
) -> None:
    (tmp_path / "box" / "home").mkdir(parents=True)
    (tmp_path / "box" / "home" / "no-model").touch()
    submit(tmp_path / "pictures", 6)
    with real_box(tmp_path / "box", born(gateway)) as box:
        box.waits_for("are loaded once more: the model is not there")
        (tmp_path / "box" / "home" / "no-model").unlink()
        until(lambda: box_of(LABEL).done == 6, "it did all")
        assert not box_of(LABEL).trouble


@pytest.mark.long
def test_a_box_that_is_killed_loses_nothing_and_another_goes_on(
    installation: Installation, gateway: GatewayProcess, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 24, "cyan")
    with real_box(tmp_path / "a", born(gateway)) as first:
        until(lambda: len(first.calls()) > 4, "it is in the middle")
        first.stop(signal.SIGKILL)
        until(lambda: not first.children(), "the models end with it")
        with real_box(tmp_path / "b", born(gateway, "mediaflow-test-b")) as second:
            until(lambda: {*first.calls(), *second.calls()} == {*assets(installation)}, "all were tried", 120)
            until(lambda: box_of(LABEL).done + box_of("mediaflow-test-b").done >= 24, "all are done", 60)
            settle(installation)
            assert installation.states() == {"done": 24}


def test_a_box_that_drains_finishes_what_it_has_and_ends_when_it_is_told(
    installation: Installation, gateway: GatewayProcess, market: MarketServer, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 30, "cyan")
    with real_box(tmp_path / "box", born(gateway), market.environment) as box:
        until(lambda: len(box.calls()) > 2, "it is in the middle")
        change_box(LABEL, state="draining")
        until(lambda: box_of(LABEL).in_hand == 0 and box_of(LABEL).done > 2, "it has nothing in hand", 60)
        assert box.process.poll() is None
        change_box(LABEL, trouble="not wanted")
        assert box.ends() == 0
        assert market.destroyed()
        assert not box.children()
        assert 0 < box_of(LABEL).done < 30


def test_a_box_whose_gateway_is_gone_ends_itself(
    installation: Installation, gateway: GatewayProcess, market: MarketServer, tmp_path: Path
) -> None:
    with real_box(tmp_path / "box", born(gateway, silence=0.1), market.environment) as box:
        box.waits_for("This is mediaflow-test-a")
        gateway.stop(signal.SIGKILL)
        assert box.ends() == 0
        assert "has not been heard of for too long" in box.said()
        assert market.destroyed()


def test_a_box_whose_lease_is_not_renewed_ends_itself(
    installation: Installation, gateway: GatewayProcess, market: MarketServer, tmp_path: Path
) -> None:
    token = enter_box(LABEL, lease=time.time() + 8)
    with real_box(
        tmp_path / "box", birth(token, f"https://127.0.0.1:{gateway.port}"), market.environment
    ) as box:
        box.waits_for("This is mediaflow-test-a")
        assert box.ends() == 0
        assert "its lease was not renewed" in box.said()
        assert market.destroyed()


def test_a_box_whose_hours_are_over_ends_itself_though_all_is_well(
    installation: Installation, gateway: GatewayProcess, market: MarketServer, tmp_path: Path
) -> None:
    with real_box(tmp_path / "box", born(gateway, hours=0.002), market.environment) as box:
        box.waits_for("This is mediaflow-test-a")
        assert box.ends() == 0
        assert "its hours are over" in box.said()
        assert market.destroyed()


def test_a_box_without_the_gpu_that_was_promised_says_so_and_ends(
    installation: Installation, gateway: GatewayProcess, market: MarketServer, tmp_path: Path
) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    promised = {"MEDIAFLOW_BOX_GPU": "RTX 4090"}
    with real_box(tmp_path / "box", born(gateway), {**market.environment, **promised}) as box:
        assert box.ends() == 0
    assert "RTX 4090 was promised" in box_of(LABEL).trouble
    assert market.destroyed()


@pytest.mark.parametrize("days", [-400, 4000])
def test_a_wrong_clock_changes_nothing(
    installation: Installation, gateway: GatewayProcess, tmp_path: Path, days: int
) -> None:
    clock = Clock(tmp_path)
    if not clock.works:
        pytest.skip("there is no compiler to make the clock with")
    clock.set(days * 86_400)
    submit(tmp_path / "pictures", 8)
    with real_box(tmp_path / "box", born(gateway), clock.environment) as box:
        until(lambda: len(box.calls()) > 1, "it works")
        clock.set(-days * 86_400)
        until(lambda: box_of(LABEL).done == 8, "it did all")
        assert box.process.poll() is None


def test_nothing_is_said_to_a_gateway_with_another_certificate(
    home: Path, market: MarketServer, tmp_path: Path
) -> None:
    """Not a byte of a request: the credential least of all."""
    heard: list[bytes] = []
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=listen, args=(server, context, heard), daemon=True).start()
        told = birth("a-token", f"https://127.0.0.1:{server.getsockname()[1]}", silence=0.1)
        with real_box(tmp_path / "box", told, market.environment) as box:
            assert box.ends() == 0
            assert "its certificate is another" in box.said()
            assert "a-token" not in box.said()
    assert len(heard) > 1  # it tried, and gave up each time in the handshake
    assert not any(heard)
    assert market.destroyed()


def test_models_come_from_the_gateway_where_no_source_has_them(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = os.urandom(3_000_000)
    with_model(tmp_path, monkeypatch, weights)
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    installation.queues = {"prepare", "index"}
    installation.up()
    submit(tmp_path / "pictures", 4)
    elsewhere = {"MEDIAFLOW_MODELS": str(tmp_path / "of-the-box")}
    with gateway_process(installation.home) as gateway, real_box(tmp_path / "box", born(gateway), elsewhere):
        until(lambda: box_of(LABEL).done == 4, "it did all")
        assert (tmp_path / "of-the-box" / "weights" / "weights.bin").read_bytes() == weights
        checks = {check["name"]: check for check in box_of(LABEL).hardware["checks"]}
        assert "Mbit/s" in checks["link"]["said"]
        assert box_of(LABEL).hardware["mbps"] > 1


def test_a_model_that_is_not_what_its_sum_says_is_not_used(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, market: MarketServer, tmp_path: Path
) -> None:
    with_model(tmp_path, monkeypatch, b"true weights" * 1000)
    here = tmp_path / "of-the-gateway" / "weights" / "weights.bin"
    here.write_bytes(b"evil weights" * 1000)
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    installation.queues = {"prepare", "index"}
    installation.up()
    elsewhere = {**market.environment, "MEDIAFLOW_MODELS": str(tmp_path / "of-the-box")}
    with (
        gateway_process(installation.home) as gateway,
        real_box(tmp_path / "box", born(gateway), elsewhere) as box,
    ):
        assert box.ends() == 0
        assert "it has the models of no task" in box.said()
        assert "cannot do look" in box_of(LABEL).trouble
    assert not list((tmp_path / "of-the-box").rglob("weights.bin"))
    assert market.destroyed()


def test_a_box_whose_models_take_long_to_come_is_heard_of_meanwhile(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_model(tmp_path, monkeypatch, os.urandom(3_000_000))
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    installation.queues = {"prepare", "index"}
    installation.up()
    submit(tmp_path / "pictures", 4)
    elsewhere = {"MEDIAFLOW_MODELS": str(tmp_path / "of-the-box")}
    with gateway_process(installation.home) as gateway, slow_way(gateway.port) as way:
        born_far = birth(enter_box(LABEL), f"https://127.0.0.1:{way.port}")
        with real_box(tmp_path / "box", born_far, elsewhere) as box:
            box.waits_for("The models of look are fetched")
            begun = time.time()
            until(lambda: (box_of(LABEL).seen or 0) > begun + 3, "it is heard of")
            assert box_of(LABEL).hello is not None
            assert box_of(LABEL).ready is None
            way.free.set()
            until(lambda: box_of(LABEL).ready, "it has its models")
            until(lambda: box_of(LABEL).done == 4, "it did all")


@dataclass
class Way:
    """A port that leads to another; slowly, until it is set `free`."""

    port: int
    free: Event


@contextmanager
def slow_way(port: int) -> Iterator[Way]:
    """A way to a port of this machine on which each connection brings 50 kB a second."""
    free = Event()

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(5000):
                target.sendall(data)
                if not free.is_set():
                    time.sleep(len(data) / 50_000)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", port))
                for pair in ((near, far), (far, near)):
                    Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=accept, daemon=True).start()
        try:
            yield Way(server.getsockname()[1], free)
        finally:
            free.set()


def with_model(folder: Path, monkeypatch: pytest.MonkeyPatch, weights: bytes) -> None:
    """Settings whose task `look` has a model that nobody but this machine has."""
    configs = folder / "configs"
    shutil.copytree(ROOT / "tests" / "configs", configs)
    settings = yaml.safe_load((configs / "mediaflow.yaml").read_text())
    settings["tasks"]["look"] |= {"model": "weights", "workers": 0}
    (configs / "mediaflow.yaml").write_text(yaml.safe_dump(settings))
    fleet = yaml.safe_load((configs / "fleet.yaml").read_text())
    fleet["libraries"] = {"default": ["look"]}
    (configs / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    file = {"name": "weights.bin", "size": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}
    file["sources"] = ["file:/nowhere/weights.bin"]
    model = {"task": "look", "licence": "MIT", "origin": "this test", "files": [file]}
    (configs / "models.yaml").write_text(yaml.safe_dump({"models": {"weights": model}}))
    there = folder / "of-the-gateway" / "weights"
    there.mkdir(parents=True)
    (there / "weights.bin").write_bytes(weights)
    monkeypatch.setenv("MEDIAFLOW_CONFIGS", str(configs))
    monkeypatch.setenv("MEDIAFLOW_MODELS", str(there.parent))
    load_settings.cache_clear()


def listen(server: socket.socket, context: ssl.SSLContext, heard: list[bytes]) -> None:
    """Take connections as TLS; what is said in them."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(connection, server_side=True) as inside:
                inside.settimeout(5)
                heard.append(inside.recv(10_000))
        except OSError:
            heard.append(b"")
