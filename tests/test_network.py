"""A box on another host, over a link that is slow, lossy or cut: all that is given out is done, once."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boxes import GatewayProcess, box_of, enter_box, gateway_process
from tests.conftest import missing
from tests.installation import Installation, answer, paint_many, until
from tests.network import Link, two_hosts, why_not
from tests.real_box import RealBox, assets, birth, real_box, settle

pytestmark = pytest.mark.slow
LABEL = "mediaflow-test-a"


@pytest.fixture
def link() -> Iterator[Link]:
    """Two hosts; this test runs on the first."""
    if reason := why_not():
        missing(reason)
    with two_hosts() as link, link.first.here():
        yield link


@pytest.fixture
def gateway(
    link: Link, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GatewayProcess]:
    """On the first host, an installation whose heavy tasks have no worker of its own, and its gateway."""
    monkeypatch.setenv("MEDIAFLOW_TASKS__LOOK__WORKERS", "0")
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    monkeypatch.setenv("MEDIAFLOW_FLEET__GATEWAY__LISTEN", link.first.address)
    installation.queues = {"prepare", "index"}
    installation.up()
    with gateway_process(installation.home) as running:
        yield running
    installation.end()  # while its host is there


@pytest.fixture
def box(link: Link, gateway: GatewayProcess, tmp_path: Path) -> Iterator[RealBox]:
    """On the second host, a box."""
    born = birth(enter_box(LABEL), f"https://{link.first.address}:{gateway.port}")
    with real_box(tmp_path / "box", born, host=link.second) as box:
        yield box


def submit(folder: Path, count: int, colour: str = "grey") -> None:
    paint_many(folder, count, colour)
    answer("submit", str(folder))


def test_the_hosts_see_each_other_over_the_link_and_no_other_way(link: Link) -> None:
    with socket.create_server((link.first.address, 0)) as server:
        port = server.getsockname()[1]
        say = (
            f"import socket; socket.create_connection(('{link.first.address}', {port}), 3).sendall(b'hello')"
        )
        assert ran(link, say) == 0
        assert server.accept()[0].recv(10) == b"hello"
        link.delay = 0.1
        started = time.monotonic()
        assert ran(link, say) == 0
        assert time.monotonic() - started > 0.2  # there and back
        link.delay, link.cut = 0.0, True
        assert ran(link, say) != 0


def ran(link: Link, code: str) -> int:
    return subprocess.run(
        link.second.command(sys.executable, "-c", code), capture_output=True, check=False
    ).returncode


def test_a_box_on_another_host_does_a_run(
    installation: Installation, box: RealBox, link: Link, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 40)
    until(lambda: box_of(LABEL).done == 40, "it did all")
    assert sorted(box.calls()) == assets(installation)
    settle(installation)
    assert installation.states() == {"done": 40}


@pytest.mark.long
def test_a_link_that_is_cut_for_twenty_seconds_costs_nothing_but_the_time(
    installation: Installation, box: RealBox, link: Link, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 60, "cyan")
    until(lambda: len(box.calls()) > 8, "it is in the middle")
    link.cut = True
    time.sleep(20)
    during = len(box.calls())
    assert installation.states().get("done", 0) < 60
    link.cut = False
    until(lambda: box_of(LABEL).done == 60, "it did all, and the ledger knows")
    assert len(box.calls()) > during  # it goes on
    assert sorted(box.calls()) == assets(installation)
    assert box.process.poll() is None
    settle(installation)
    assert installation.states() == {"done": 60}


@pytest.mark.parametrize(("delay", "loss"), [(0.0, 0.05), (0.05, 0.0), (0.05, 0.05)])
def test_a_slow_and_lossy_link_brings_all_there_and_back(
    installation: Installation, box: RealBox, link: Link, tmp_path: Path, delay: float, loss: float
) -> None:
    link.delay, link.loss = delay, loss
    submit(tmp_path / "pictures", 40)
    until(lambda: box_of(LABEL).done == 40, "it did all")
    assert sorted(box.calls()) == assets(installation)
    settle(installation)
    assert installation.states() == {"done": 40}
    assert bool(link.lost) == bool(loss)
