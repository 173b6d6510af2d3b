"""The gateway: a real process, real TLS, a box that is played by the test, and everything else as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boxes import GatewayProcess, box_of, enter_box, finding, gateway_process
from tests.installation import Installation, answer, paint_many, until

pytestmark = pytest.mark.slow


@pytest.fixture
def gateway(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayProcess]:
    """An installation whose heavy tasks have no worker of its own, and its gateway."""
    monkeypatch.setenv("MEDIAFLOW_TASKS__LOOK__WORKERS", "0")
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    installation.queues = {"prepare", "index"}
    installation.up()
    with gateway_process(installation.home) as running:
        yield running


def submit(installation: Installation, folder: Path, count: int, first: int = 0) -> None:
    paint_many(folder, count, first=first)
    answer("submit", str(folder))


def test_a_box_does_the_work_of_a_run(
    installation: Installation, gateway: GatewayProcess, tmp_path: Path
) -> None:
    box = gateway.client(enter_box("mediaflow-test-a"))
    told = box.hello(gpu="RTX 4090")
    assert told["tasks"] == ["look", "late"]
    submit(installation, tmp_path / "pictures", 30)
    done = 0
    while done < 30:
        done += box.answer(*(finding(item["id"]) for item in box.take()))
    installation.wait()
    assert installation.states() == {"done": 30}
    assert not installation.calls()
    until(lambda: box_of("mediaflow-test-a").done == 30, "the ledger knows what it did")
