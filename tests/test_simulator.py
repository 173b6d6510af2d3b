"""The simulated market over HTTP: the unmodified SDK and command `vastai` get what Vast.ai would answer."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mediaflow.fleet.simulator.faults import FAULTS
from mediaflow.fleet.spending import START_GB
from tests.installation import until
from tests.vast import Vast, vast_market

requests = pytest.importorskip("requests")
pytest.importorskip("vastai")
pytestmark = pytest.mark.slow

# A box that says what it was given, and lives on; and one that ends by itself.
_SPEECH = (
    "import os, time\n"
    "print('born', os.environ['GIVEN'], os.environ['CONTAINER_ID'], 'VAST_API_KEY' in os.environ)\n"
    "while True: print('beat', time.time()); time.sleep(0.1)"
)
SPEAKS = (sys.executable, "-uc", _SPEECH)
IMAGE = "mediaflow-box:latest"


@pytest.fixture(scope="module")
def market() -> Iterator[Vast]:
    """A market without faults, whose boxes load in a second."""
    with vast_market(box=SPEAKS) as vast:
        yield vast


@pytest.fixture
def sdk(market: Vast) -> Iterator[Any]:
    """The SDK; what a test rented is ended after it."""
    vast = market.sdk()
    yield vast
    for row in rows(vast):
        destroy(vast, row["id"])


def rows(sdk: Any) -> list[dict[str, Any]]:
    """What is rented."""
    return list(patiently(sdk.show_instances))


def patiently(call: Any, *arguments: Any, **options: Any) -> Any:
    """Call until the market does not find it too frequent any more."""
    for _ in range(50):
        try:
            return call(*arguments, **options)
        except requests.HTTPError as error:
            if error.response.status_code != 429:
                raise
            time.sleep(0.1)
    raise AssertionError("too frequent for ever")


def destroy(sdk: Any, contract: int) -> None:
    with suppress(requests.HTTPError):
        patiently(sdk.destroy_instance, contract)


def offer(sdk: Any, place: int = 0) -> dict[str, Any]:
    """One of the offers, the best first."""
    found: list[dict[str, Any]] = patiently(sdk.search_offers, limit=100)
    return found[place]


def rent(sdk: Any, **options: Any) -> int:
    """Rent the best offer."""
    order = {"image": IMAGE, "disk": 20, "env": {"GIVEN": "gift"}, "label": "a-box"} | options
    contract: int = patiently(sdk.create_instance, offer(sdk)["id"], **order)["new_contract"]
    return contract


def state(sdk: Any, contract: int) -> str | None:
    """What the market says of a box; `gone` where it has none."""
    row = patiently(sdk.show_instance, contract)
    return row["actual_status"] if row else "gone"


def runs(sdk: Any, contract: int) -> None:
    until(lambda: state(sdk, contract) == "running", "the box runs")


def text_of(sdk: Any, contract: int) -> str:
    return str(patiently(sdk.logs, contract))


def test_offers_are_filtered_ordered_and_limited_as_the_sdk_asks(sdk: Any) -> None:
    found = sdk.search_offers(
        "reliability>0.98 gpu_ram>=12 cuda_vers>=12.4 geolocation in [DE,SE,PL]", order="dph"
    )
    assert found
    assert all(row["reliability"] > 0.98 and row["gpu_ram"] >= 12_000 for row in found)
    assert all(row["geolocation"][-2:] in ("DE", "SE", "PL") and row["verified"] for row in found)
    assert [row["dph_total"] for row in found] == sorted(row["dph_total"] for row in found)
    assert len(patiently(sdk.search_offers, limit=3)) == 3
    assert not patiently(sdk.search_offers, "gpu_ram>=1000")


def test_interruptible_offers_are_cheaper_and_a_larger_disk_costs_more(sdk: Any) -> None:
    row = offer(sdk)
    bids = {each["id"]: each for each in patiently(sdk.search_offers, type="bid", limit=100)}
    disks = {each["id"]: each for each in patiently(sdk.search_offers, storage=500, limit=100)}
    assert bids[row["id"]]["dph_total"] < row["dph_total"] < disks[row["id"]]["dph_total"]


def test_a_box_loads_runs_and_is_a_process_with_what_it_was_given(sdk: Any) -> None:
    contract = rent(sdk)
    assert state(sdk, contract) in (None, "created", "loading", "running")
    runs(sdk, contract)
    until(lambda: f"born gift {contract} False" in text_of(sdk, contract), "the box has spoken")
    row = next(row for row in rows(sdk) if row["id"] == contract)
    assert row["label"] == "a-box"
    assert row["extra_env"] == {"GIVEN": "gift"}
    destroy(sdk, contract)
    assert state(sdk, contract) == "gone"


def test_what_is_rented_is_offered_to_nobody(sdk: Any) -> None:
    row = offer(sdk)
    patiently(sdk.create_instance, row["id"], image=IMAGE, disk=20)
    assert row["id"] not in {each["id"] for each in patiently(sdk.search_offers, limit=100)}
    with pytest.raises(requests.HTTPError) as refused:
        patiently(sdk.create_instance, row["id"], image=IMAGE, disk=20)
    assert refused.value.response.status_code == 404
    assert refused.value.response.json()["error"] == "no_such_ask"


def test_a_list_of_more_than_a_page_is_whole(sdk: Any) -> None:
    ids = [row["id"] for row in patiently(sdk.search_offers, "verified=any", limit=100)][:27]
    for each in ids:
        patiently(sdk.create_instance, each, image=IMAGE, disk=10)
    assert len(rows(sdk)) == 27


def test_a_stopped_box_costs_its_disk_only_and_starts_again(sdk: Any) -> None:
    contract = rent(sdk, disk=2000)
    runs(sdk, contract)
    patiently(sdk.stop_instance, contract)
    before = cost(sdk, contract)
    until(lambda: cost(sdk, contract)["disk"] > before["disk"], "the disk costs")
    assert cost(sdk, contract).get("gpu") == before.get("gpu")
    patiently(sdk.start_instance, contract)
    runs(sdk, contract)
    until(lambda: cost(sdk, contract)["gpu"] > before["gpu"], "the GPU costs")


def cost(sdk: Any, contract: int) -> dict[str, float]:
    """Dollars by kind that a box has cost."""
    now = int(time.time())
    found = patiently(
        sdk.show_invoices_v1, charges=True, start_date=now - 86_400, end_date=now + 86_400, limit=100
    )
    items = [
        item for row in found["results"] if row["source"] == f"instance-{contract}" for item in row["items"]
    ]
    return {item["type"]: item["amount"] for item in items}


def test_what_a_start_brings_in_is_charged(sdk: Any) -> None:
    found = patiently(sdk.search_offers, "verified=any", limit=100)
    row = next(row for row in found if row["inet_down_cost"])
    contract = patiently(sdk.create_instance, row["id"], image=IMAGE, disk=20)["new_contract"]
    runs(sdk, contract)
    assert cost(sdk, contract)["bwd"] == pytest.approx(START_GB * row["inet_down_cost"])


def test_money_spent_is_gone_from_the_account(sdk: Any) -> None:
    before = patiently(sdk.show_user)["credit"]
    contract = rent(sdk, disk=100_000)
    until(lambda: patiently(sdk.show_user)["credit"] < before, "the credit shrinks")
    destroy(sdk, contract)
    assert "api_key" not in patiently(sdk.show_user)


def test_a_label_can_be_changed_and_a_bid_too(sdk: Any) -> None:
    row = offer(sdk)
    contract = patiently(sdk.create_instance, row["id"], image=IMAGE, disk=20, price=row["min_bid"] * 1.5)[
        "new_contract"
    ]
    patiently(sdk.label_instance, contract, "another")
    patiently(sdk.change_bid, contract, row["min_bid"] * 2)
    found = next(each for each in rows(sdk) if each["id"] == contract)
    assert found["label"] == "another"
    assert found["is_bid"]
    patiently(sdk.change_bid, contract, row["min_bid"] / 2)
    found = next(each for each in rows(sdk) if each["id"] == contract)
    assert found["cur_state"] == found["intended_status"] == found["next_state"] == "stopped"


def test_a_bid_that_is_too_low_makes_a_stopped_box_and_an_error_that_names_it(sdk: Any) -> None:
    row = offer(sdk)
    with pytest.raises(requests.HTTPError) as refused:
        patiently(sdk.create_instance, row["id"], image=IMAGE, disk=20, price=row["min_bid"] / 2)
    contract = refused.value.response.json()["new_contract"]
    assert [each["cur_state"] for each in rows(sdk) if each["id"] == contract] == ["stopped"]


@pytest.mark.parametrize(
    ("key", "status", "said"),
    [("wrong", 404, "Invalid user key"), (None, 403, "requires login")],
)
def test_who_has_no_key_gets_nothing(market: Vast, key: str | None, status: int, said: str) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = httpx2.get(f"{market.url}/api/v1/instances/", headers=headers)
    assert answer.status_code == status
    assert said in answer.json()["msg"]
    assert answer.json()["success"] is False


def test_a_boxes_own_key_ends_that_box_and_no_other(market: Vast, sdk: Any) -> None:
    mine = patiently(sdk.create_instance, offer(sdk)["id"], image=IMAGE, disk=20)
    other = rent(sdk)
    headers = {"Authorization": f"Bearer {mine['instance_api_key']}"}

    def end(contract: int) -> int:
        return httpx2.request(
            "DELETE", f"{market.url}/api/v0/instances/{contract}/", headers=headers, json={}
        ).status_code

    assert end(other) == 404
    assert httpx2.get(f"{market.url}/api/v1/instances/", headers=headers).status_code == 404
    assert end(mine["new_contract"]) == 200
    assert {row["id"] for row in rows(sdk)} == {other}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"image": None}, "invalid_args"),
        ({"image": IMAGE, "disk": 2}, "invalid_args"),
        ({"image": IMAGE, "label": "x" * 257}, "invalid_args"),
        ({"image": IMAGE, "price": 500}, "invalid_price"),
        ({"image": IMAGE, "env": {"A": "x" * 40_000}}, "invalid_args"),
    ],
)
def test_an_order_that_breaks_the_rules_is_refused(
    market: Vast, sdk: Any, body: dict[str, Any], code: str
) -> None:
    answer = asked(market, "PUT", f"/api/v0/asks/{offer(sdk)['id']}/", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, code)


LIST, SEARCH, CHARGES = "/api/v1/instances/", "/api/v0/bundles/", "/api/v0/charges/"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{LIST}?limit=abc", None),
        ("GET", f"{LIST}?limit=-30", None),
        ("GET", f"{LIST}?after_token=abc", None),
        ("GET", f"{LIST}?select_filters=xx", None),
        ("GET", f"{LIST}?select_filters=5", None),
        ("GET", f'{CHARGES}?select_filters={{"day":5}}', None),
        ("GET", f'{CHARGES}?select_filters={{"day":{{"gte":"x"}}}}', None),
        ("GET", "/api/v1/invoices/?limit=abc", None),
        ("POST", SEARCH, {"limit": "x"}),
        ("POST", SEARCH, {"allocated_storage": "x"}),
        ("POST", SEARCH, {"order": [["score"]]}),
        ("POST", SEARCH, {"gpu_ram": {"in": 5}}),
        ("POST", SEARCH, {"gpu_ram": {"about": 5}}),
        ("PUT", "/api/v0/search/asks/", {"q": "x"}),
        ("PUT", "/api/v0/asks/1/", {"image": IMAGE, "price": "abc"}),
        ("PUT", "/api/v0/asks/1/", {"image": IMAGE, "disk": "abc"}),
        ("PUT", "/api/v0/asks/1/", {"image": IMAGE, "label": 5}),
        ("PUT", "/api/v0/instances/bid_price/1/", {"price": "abc"}),
        ("PUT", "/api/v0/instances/request_logs/1/", {"tail": "abc"}),
        ("PUT", "/api/v0/instances/request_logs/1/", {"filter": 5}),
        ("PUT", "/api/v0/instances/", {"ids": 5}),
        ("DELETE", "/api/v0/instances/", {"instance_ids": ["x"]}),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_as_such(
    market: Vast, method: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = asked(market, method, path, json=body)
    said = answer.json()
    assert (answer.status_code, said["success"], said["error"]) == (400, False, "invalid_args")
    assert said["msg"]


def test_a_page_may_be_asked_for_with_a_token_in_quotes(market: Vast, sdk: Any) -> None:
    contract = rent(sdk)
    pages = [asked(market, "GET", f"{LIST}?after_token={token}").json() for token in ("1", '"1"')]
    assert [[row["id"] for row in page["instances"]] for page in pages] == [[contract]] * 2


def asked(market: Vast, method: str, path: str, **options: Any) -> Any:
    """What the market answers when it does not find the call too frequent."""
    headers = {"Authorization": f"Bearer {market.key}"}

    def answer() -> Any:
        found = httpx2.request(method, market.url + path, headers=headers, **options)
        return None if found.status_code == 429 else found

    return until(answer, "an answer")


def test_the_list_of_old_is_gone(market: Vast) -> None:
    answer = httpx2.get(f"{market.url}/api/v0/instances/", headers={"Authorization": f"Bearer {market.key}"})
    assert (answer.status_code, answer.json()["error"]) == (410, "deprecated_endpoint")


def test_who_calls_too_often_is_told_so() -> None:
    with vast_market(haste=1) as vast:
        headers = {"Authorization": f"Bearer {vast.key}"}
        for path, seconds in ((LIST, 1), (CHARGES, 1), ("/api/v1/invoices/", 3)):
            answers = [httpx2.get(vast.url + path, headers=headers) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [200, 429]
            assert answers[1].text.endswith(f"threshold={seconds}")


def test_the_command_rents_shows_and_ends_a_box(market: Vast, sdk: Any, tmp_path: Path) -> None:
    def vastai(*arguments: str) -> str:
        done = market.command(*arguments, home=tmp_path)
        assert done.returncode == 0, done.stderr + done.stdout
        time.sleep(0.1)
        return done.stdout

    found = json.loads(vastai("search", "offers", "gpu_ram>=8", "--raw"))
    assert "RTX" in vastai("search", "offers")
    said = vastai(
        "create", "instance", str(found[0]["id"]), "--image", IMAGE, "--disk", "20", "--env", "-e GIVEN=1"
    )
    contract = re.search(r"'new_contract': (\d+)", said)
    assert contract
    assert contract[1] in vastai("show", "instances", "--raw")
    assert contract[1] in vastai("show", "instance", contract[1])
    runs(sdk, int(contract[1]))
    until(lambda: "born 1" in vastai("logs", contract[1]), "the log is there")
    assert "100" in vastai("show", "user") or "99" in vastai("show", "user")
    assert contract[1] in vastai("show", "invoices-v1", "--charges", "--raw", "--limit", "100")
    vastai("destroy", "instance", contract[1], "--yes")
    assert contract[1] not in vastai("show", "instances", "--raw")


def test_boxes_do_not_outlive_the_market() -> None:
    with vast_market(box=SPEAKS) as vast:
        sdk = vast.sdk()
        contract = rent(sdk)
        runs(sdk, contract)
        until(lambda: "beat" in text_of(sdk, contract), "the box lives")
        last = Path("/proc").glob("[0-9]*/environ")
        mark = f"CONTAINER_ID={contract}".encode()
        alive = [path for path in last if _holds(path, mark) and _holds(path, vast.url.encode())]
        assert alive
    until(lambda: not any(path.exists() for path in alive), "its process has ended")


def _holds(path: Path, mark: bytes) -> bool:
    with suppress(OSError):
        return mark in path.read_bytes()
    return False


def test_an_order_that_is_answered_late_is_carried_out_all_the_same() -> None:
    with vast_market("late") as vast:
        sdk = vast.sdk(retry=1)
        with pytest.raises(requests.HTTPError) as error:
            rent(sdk)
        assert error.value.response.status_code == 504
        assert [row["label"] for row in rows(sdk)] == ["a-box"]


def test_an_order_may_be_carried_out_twice() -> None:
    with vast_market("twice") as vast:
        sdk = vast.sdk()
        contract = rent(sdk)
        found = rows(sdk)
        assert [row["label"] for row in found] == ["a-box", "a-box"]
        assert contract in {row["id"] for row in found}


def test_an_offer_may_be_gone_when_it_is_ordered() -> None:
    with vast_market("gone") as vast:
        sdk = vast.sdk(retry=1)
        with pytest.raises(requests.HTTPError) as error:
            rent(sdk)
        assert error.value.response.status_code == 404
        assert rent(sdk)


def test_a_box_may_load_for_ever() -> None:
    with vast_market("stuck", haste=300) as vast:
        sdk = vast.sdk()
        stuck, good = rent(sdk), rent(sdk)
        runs(sdk, good)
        time.sleep(1)
        assert state(sdk, stuck) == "loading"


@pytest.mark.parametrize(
    ("fault", "status", "current"),
    [("exited", "exited", "running"), ("offline", "offline", "running"), ("outbid", "exited", "stopped")],
)
def test_a_box_may_be_lost_while_it_works(fault: str, status: str, current: str) -> None:
    with vast_market(fault, box=SPEAKS) as vast:
        sdk = vast.sdk()
        contract = rent(sdk)
        runs(sdk, contract)
        until(lambda: state(sdk, contract) == status, "it is lost")
        assert patiently(sdk.show_instance, contract)["cur_state"] == current
        assert vast.process.poll() is None


def beats(sdk: Any, contract: int) -> int:
    return text_of(sdk, contract).count("beat")


def test_a_box_may_be_silent_though_it_runs() -> None:
    with vast_market("silent", box=SPEAKS) as vast:
        sdk = vast.sdk()
        contract = rent(sdk)
        runs(sdk, contract)
        time.sleep(2)
        said = beats(sdk, contract)
        time.sleep(1.5)
        assert beats(sdk, contract) == said
        assert state(sdk, contract) == "running"


def test_a_box_may_be_slow() -> None:
    with vast_market("slow", box=SPEAKS) as vast:
        sdk = vast.sdk()
        slow, good = rent(sdk), rent(sdk)
        runs(sdk, slow)
        runs(sdk, good)
        until(lambda: beats(sdk, good) > 40, "the good box has worked")
        assert beats(sdk, slow) < 0.7 * beats(sdk, good)


def test_a_box_may_have_a_wrong_clock() -> None:
    with vast_market("skew", box=(sys.executable, "-m", "tests.tasks.clock")) as vast:
        sdk = vast.sdk()
        skewed, good = rent(sdk), rent(sdk)
        runs(sdk, skewed)
        runs(sdk, good)
        until(lambda: text_of(sdk, skewed).strip() and text_of(sdk, good).strip(), "both have spoken")
        hours = [float(text_of(sdk, contract).split()[0]) / 3600 for contract in (skewed, good)]
        assert 4.9 < hours[0] - hours[1] < 5.1


def test_the_list_may_be_empty_or_old() -> None:
    with vast_market("empty") as vast:
        sdk = vast.sdk()
        contract = rent(sdk)
        assert patiently(sdk.show_instances) == []
        assert [row["id"] for row in rows(sdk)] == [contract]
    with vast_market("stale") as vast:
        sdk = vast.sdk()
        contract = rent(sdk)
        assert patiently(sdk.show_instances) == []
        assert [row["id"] for row in rows(sdk)] == [contract]


@pytest.mark.parametrize(("fault", "status"), [("429", 429), ("5xx", 502), ("outage", 503)])
def test_the_door_may_be_shut(fault: str, status: int) -> None:
    with vast_market(fault) as vast:
        sdk = vast.sdk(retry=1)
        with pytest.raises(requests.HTTPError) as error:
            sdk.show_user()
        assert error.value.response.status_code == status
        assert sdk.show_user()["credit"] == 100


def test_without_credit_boxes_stop_and_nothing_is_ordered() -> None:
    with vast_market(credit=0.0) as vast:
        sdk = vast.sdk(retry=1)
        with pytest.raises(requests.HTTPError) as error:
            rent(sdk)
        assert error.value.response.json()["error"] == "insufficient_credit"
    with vast_market(credit=0.0001) as vast:
        sdk = vast.sdk()
        contract = rent(sdk, disk=100_000)
        until(lambda: patiently(sdk.show_instance, contract)["cur_state"] == "stopped", "the credit is gone")


def test_every_fault_has_a_sentence_and_none_comes_unasked() -> None:
    assert all(fault.what for fault in FAULTS.values())
    with vast_market() as vast:
        sdk = vast.sdk(retry=1)
        assert all(sdk.show_user()["credit"] == 100 for _ in range(50))
