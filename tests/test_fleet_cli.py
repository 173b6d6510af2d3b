"""The commands `mediaflow fleet …`: what they answer, in JSON and for people, and what they never show."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from mediaflow.errors import ConfigError
from mediaflow.fleet import fruitless, ledger
from mediaflow.fleet.key import api_key, key_path
from mediaflow.fleet.run import hold
from mediaflow.fleet.settings import GatewaySettings, load_fleet
from tests.boxes import enter_box
from tests.controllers import (
    SLEEPS,
    boxes,
    command,
    controller,
    demand,
    labels,
    processes_with,
    rent_at,
    write_key,
)
from tests.installation import Installation, mediaflow, until
from tests.vast import vast_market

pytest.importorskip("vastai")
pytestmark = pytest.mark.usefixtures("colours")

SECRET = "secret-of-the-account-0123456789abcdef"
EVERY = (
    ("plan",), ("status",), ("costs",), ("doctor",), ("logs", "mediaflow-test-a"), ("drain",), ("resume",),
    ("down",), ("run",),
)  # fmt: skip


def doctors(*checks: str) -> list[dict[str, str]]:
    """What the doctor of the fleet finds by these checks."""
    found = command("doctor", status=3)["findings"]
    return [finding for finding in found if finding["check"] in checks]


def fits_80_columns(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines())


def test_without_a_fleet_status_says_so_and_costs_are_nothing() -> None:
    assert command("status")["why"].startswith("Nothing is rented: the fleet is not enabled")
    found = command("costs")
    assert (found["today"], found["boxes"], found["per_1000_files"]) == (0, [], None)
    assert "fleet" not in json.loads(mediaflow("status", "--json").stdout)


def test_status_says_that_nobody_watches_boxes_and_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    enter_box("mediaflow-test-aaaa1111", contract=7)
    why = command("status")["why"]
    assert why.startswith("1 box is rented and no controller watches it: mediaflow fleet down.")
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    assert "mediaflow up, or mediaflow fleet down" in command("status")["why"]
    with closing(ledger.open_ledger()) as db:
        hold(db, "drain")
    assert "until `mediaflow fleet resume`" in command("status")["why"]
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "false")
    assert "until `mediaflow fleet resume`" in command("status")["why"]


def test_resume_promises_no_boxes_where_none_can_be_rented(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not enabled" in mediaflow("fleet", "resume").stderr
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    assert "mediaflow up" in mediaflow("fleet", "resume").stderr


def test_what_is_not_enabled_does_not_run() -> None:
    done = mediaflow("fleet", "run")
    assert done.returncode == 2
    assert "enabled: true" in done.stderr


@pytest.mark.parametrize("name", ["plan", "down", "doctor"])
def test_without_a_key_it_is_said_where_one_may_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    done = mediaflow("fleet", name)
    assert done.returncode in (2, 3)
    assert "VAST_API_KEY" in done.stdout + done.stderr


def test_a_key_that_others_can_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    write_key(SECRET)
    key_path().chmod(0o644)
    done = mediaflow("fleet", "run")
    assert done.returncode == 2
    assert "chmod 600" in done.stderr


def test_without_an_address_of_the_gateway_nothing_is_rented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    monkeypatch.setenv("MEDIAFLOW_FLEET__GATEWAY__ADDRESS", "''")
    write_key(SECRET)
    done = mediaflow("fleet", "run")
    assert done.returncode == 2
    assert "gateway.address" in done.stderr


def test_a_box_has_to_be_named_so_that_one_is_meant() -> None:
    for label in ("mediaflow-test-aaaa1111", "mediaflow-test-bbbb1111"):
        enter_box(label, contract=None)
    for name in ("nobody", "1111", "mediaflow-test-aaaa1111", "\x1b[31m"):
        done = mediaflow("fleet", "logs", name)
        assert done.returncode == 2
        assert "\x1b" not in done.stderr


def test_status_shows_boxes_within_80_columns() -> None:
    token = enter_box(
        "mediaflow-test-aaaa1111", gpu="RTX 4090\x1b[31m", trouble="no GPU\n\x1b[31m", contract=7
    )
    said = mediaflow("fleet", "status").stdout
    assert "RTX 4090" in said
    assert "\x1b" not in said
    assert fits_80_columns(said)
    assert token not in json.dumps(command("status"))


def test_the_name_that_logs_takes_is_whole_in_the_table() -> None:
    enter_box(
        "mediaflow-averyveryverylongname-aaaa1111",
        gpu="RTX 4090 D Laptop GPU",
        contract=7,
        intended=time.time() - 40_000,
        state="draining",
        done=1_234_567,
    )
    said = mediaflow("fleet", "status").stdout
    assert any(line.startswith("aaaa1111 ") for line in said.splitlines())
    assert fits_80_columns(said)


def test_a_market_that_cannot_be_reached_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    write_key(SECRET)
    monkeypatch.setenv("VAST_URL", "http://somebody:secret@127.0.0.1:9")
    done = mediaflow("fleet", "plan")
    assert done.returncode == 3
    assert "VAST_URL (127.0.0.1:9)" in done.stderr
    assert "secret" not in done.stderr
    for wrong in ("foo", "https://"):
        monkeypatch.setenv("VAST_URL", wrong)
        done = mediaflow("fleet", "plan")
        assert done.returncode == 2
        assert "VAST_URL" in done.stderr


@pytest.mark.parametrize("wrong", ["exa mple", "https://example.org", "example.org:8443", "-x", "::1::"])
def test_an_address_that_is_none_is_refused_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    (tmp_path / "fleet.yaml").write_text(f"enabled: true\ngateway:\n  address: {wrong!r}\n")
    monkeypatch.setenv("MEDIAFLOW_CONFIGS", str(tmp_path))
    load_fleet.cache_clear()
    with pytest.raises(ConfigError, match=r"fleet\.yaml, line 3: gateway\.address = .* no host name"):
        load_fleet()


@pytest.mark.parametrize("right", ["", "example.org", "10.0.0.7", " 2001:db8::1 ", "my_host"])
def test_a_host_name_or_an_ip_address_is_an_address(right: str) -> None:
    assert GatewaySettings(address=right).address == right.strip()


def test_a_task_that_is_none_is_told_by_the_doctor_and_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_FLEET__LIBRARIES", "{default: [look, nope]}")
    [finding] = doctors("libraries")
    assert "'nope'" in finding["what"]
    with vast_market() as market:
        rent_at(market, monkeypatch)
        assert "'nope'" in mediaflow("fleet", "plan").stdout


def test_the_doctor_says_what_is_missing_once_and_that_an_image_can_be_fetched_by_nobody() -> None:
    [image] = doctors("image")
    assert "push" in image["next"]
    key, market = doctors("key", "market")
    assert "VAST_API_KEY" in key["what"]
    assert market["what"] == "not asked: no key"
    whole = command("doctor", status=3)["findings"]
    assert all(finding.get("next", "") is not None for finding in whole)


def test_a_key_in_another_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    key_path().symlink_to(tmp_path / "key")
    with pytest.raises(ConfigError, match=r"is a link.*put the key itself there"):
        api_key()


def test_costs_are_told_by_day_box_and_task() -> None:
    now = time.time()
    enter_box(
        "mediaflow-test-aaaa1111",
        contract=7,
        price=0.5,
        running=now - 3600,
        intended=now - 3700,
        state="working",
    )
    with closing(ledger.open_ledger()) as db:
        ledger.put_fact(db, "charges", {"2020-01-31": 2.0}, now)
    found = command("costs")
    assert found["boxes"][0]["dollars"] == pytest.approx(0.5, rel=0.05)
    assert found["months"]["2020-01"] == 2.0
    assert sum(found["days"].values()) == pytest.approx(0.5, rel=0.1)
    assert fits_80_columns(mediaflow("fleet", "costs").stdout)


@pytest.mark.slow
def test_a_plan_says_what_would_be_rented_and_why_and_rents_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with vast_market() as market:
        rent_at(market, monkeypatch)
        demand()
        plan = command("plan", "--most", "5")
        assert plan["rent"] == plan["offers"][0]
        assert "late" in plan["why"]
        assert len(plan["offers"]) == 5
        for offer in plan["offers"]:
            assert min(offer["price"], offer["reliability"], offer["speedup"], offer["per_1000"]) > 0
        shown = mediaflow("fleet", "plan").stdout
        assert str(plan["rent"]["offer"]) in shown
        assert fits_80_columns(shown)
        monkeypatch.setenv("MEDIAFLOW_FLEET__CAPS__PER_DAY", "0.01")
        refused = command("plan")
        assert refused["rent"] is None
        assert "budget" in refused["refused"]
        assert labels(market) == []
        assert boxes(ended=True) == []


@pytest.mark.slow
def test_a_plan_is_the_decision_of_the_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with vast_market() as market:
        rent_at(market, monkeypatch)
        demand()
        now = time.time()
        with closing(ledger.open_ledger()) as db:
            for number in range(fruitless.FAILURES):
                fruitless.note(db, f"mediaflow-test-{number}", now, idle=False)
            assert "failed before they did anything" in command("plan")["refused"]
            hold(db, "down")
        plan = command("plan")
        assert plan["rent"] is None
        assert "mediaflow fleet resume" in plan["refused"]
        assert "mediaflow fleet resume" in mediaflow("fleet", "plan").stdout.replace("\n", " ")
        with controller(tmp_path):
            until(lambda: "resume" in str(command("plan")["controller"]), "the plan tells what it does")


@pytest.mark.slow
def test_a_log_is_shown_with_whatever_it_says_made_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks = ("sh", "-c", r"printf 'hello\033[31m\tworld\n'; sleep 600")
    with vast_market(box=speaks) as market:
        rent_at(market, monkeypatch, CAPS__BOXES=1)
        demand()
        with controller(tmp_path):
            [box] = until(lambda: [box for box in boxes() if box.running], "a box runs")
            said = until(lambda: mediaflow("fleet", "logs", box.label[-8:]).stdout.strip(), "it has spoken")
            assert said.split() == ["hello\\x1b[31m", "world"]


@pytest.mark.slow
def test_doctor_finds_all_well_and_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with vast_market() as market:
        rent_at(market, monkeypatch)
        assert command("doctor")["ok"]
        assert fits_80_columns(mediaflow("fleet", "status").stdout)
        with controller(tmp_path, serves=False):  # there is a controller, and no gateway
            found = {each["check"]: each for each in command("doctor", status=3)["findings"]}
            assert found["gateway"]["state"] == "problem"
            assert found["controller"]["state"] == "ok"
        key_path().chmod(0o644)
        found = {each["check"]: each for each in command("doctor", status=3)["findings"]}
        assert "chmod 600" in found["key"]["what"]
        assert {each["check"] for each in json.loads(mediaflow("doctor", "--json").stdout)["findings"]} >= {
            "key"
        }


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("good", [True, False])
def test_the_key_is_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: bool) -> None:
    secret = f"{SECRET}{os.getpid()}"  # another test may have a market with such a key at the same time
    with vast_market(box=SLEEPS, key=secret if good else "another") as market:
        rent_at(market, monkeypatch, CAPS__BOXES=1)
        key_path().unlink()
        monkeypatch.setenv("VAST_API_KEY", secret)
        monkeypatch.setenv("MEDIAFLOW_DEBUG", "1")  # tracebacks too
        demand()
        said = ""
        with controller(tmp_path) as running:
            if good:
                until(lambda: any(box.contract for box in boxes()), "a box is there")
                enter_box("mediaflow-test-a", contract=boxes()[0].contract, state="ended")
            until(lambda: command("status")["why"], "it has ticked")
            assert processes_with(secret) == [] or good  # the market of the test has it as an argument
            for arguments in EVERY:
                for form in ((), ("--json",)) if arguments[0] != "run" else ((),):
                    done = mediaflow("fleet", *arguments, *form)
                    said += done.stdout + done.stderr
            running.stop()
        said += running.log.read_text()
        assert said
        assert secret not in said
        for path in Path(os.environ["MEDIAFLOW_HOME"]).rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path
    load_fleet.cache_clear()


@pytest.mark.slow
def test_the_controller_alone_has_the_key(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vast_market() as market:
        rent_at(market, monkeypatch)
        key_path().unlink()
        monkeypatch.setenv("VAST_API_KEY", market.key)
        installation.up()
        until(lambda: installation.pids("workers.gateway"), "the gateway is there")
        controllers = until(lambda: installation.pids("mediaflow.fleet"), "the controller is there")
        # `up` gives it to the controller; the test and the market have it too.
        others = set(installation.pids()) - set(controllers) - {installation.process.pid, market.process.pid}
        assert len(others) >= 4
        assert not any(b"VAST_API_KEY" in Path(f"/proc/{pid}/environ").read_bytes() for pid in others)
