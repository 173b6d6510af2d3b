"""Vast.ai through the unmodified SDK, against the simulated market over HTTP, and one that misbehaves."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mediaflow.errors import ConfigError
from mediaflow.fleet import vast as module
from mediaflow.fleet.key import api_key, key_path
from mediaflow.fleet.market import (
    MarketError,
    NoCredit,
    Offer,
    OfferGone,
    Order,
    OrderUncertain,
    Refused,
    Throttled,
)
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.vast import Vast
from tests.conftest import free_port
from tests.installation import until
from tests.vast import vast_market

pytest.importorskip("vastai")

SLEEPS = ("sleep", "600")
KEY = "a-key-that-nobody-may-see-0123456789"


def settings(**changes: Any) -> FleetSettings:
    return FleetSettings.model_validate({"enabled": True, "name": "test", **changes})


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a market at a URL."""

    def make(url: str, key: str = "simulated", **changes: Any) -> Vast:
        monkeypatch.setenv("VAST_URL", url)
        return Vast(settings(**changes), key)

    return make


def order_of(offer: Offer, label: str = "mediaflow-test-one", **changes: Any) -> Order:
    fields: dict[str, Any] = {"image": "mediaflow-box:latest", "disk_gb": 20, "environment": {"A": "1"}}
    return Order(offer.id, label, **fields | changes)


# --- the key ---


def test_the_key_comes_from_the_variable_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    key_path().write_text(" of-the-file\n")
    key_path().chmod(0o600)
    assert api_key() == "of-the-file"
    monkeypatch.setenv("VAST_API_KEY", "of-the-variable")
    assert api_key() == "of-the-variable"


def test_without_a_key_it_is_said_where_one_may_be() -> None:
    with pytest.raises(ConfigError, match="VAST_API_KEY.*vast_api_key"):
        api_key()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_that_others_can_read_is_refused_and_not_shown(mode: int) -> None:
    key_path().write_text(KEY)
    key_path().chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600") as error:
        api_key()
    assert KEY not in str(error.value)


def test_a_link_in_the_place_of_the_key_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(KEY)
    other.chmod(0o600)
    key_path().symlink_to(other)
    with pytest.raises(ConfigError):
        api_key()


def test_a_pipe_or_a_folder_in_the_place_of_the_key_keeps_nobody_waiting() -> None:
    os.mkfifo(key_path(), 0o600)
    with pytest.raises(ConfigError):
        api_key()
    key_path().unlink()
    key_path().mkdir()
    with pytest.raises(ConfigError):
        api_key()


@pytest.mark.parametrize("key", ["two words", "lines\nof text", "über", "\x1b[31m", "x" * 600])
def test_what_is_no_key_is_refused_before_a_library_repeats_it(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("VAST_API_KEY", key)
    with pytest.raises(ConfigError) as error:
        api_key()
    assert key not in str(error.value)


# --- the simulated market ---


@pytest.mark.slow
def test_a_box_is_offered_ordered_listed_heard_charged_and_ended(at: Any) -> None:
    with vast_market(box=("sh", "-c", "echo born $A; sleep 600")) as server:
        market = at(server.url)
        assert market.credit() == 100
        assert market.instances() == []
        offers = market.offers()
        offer = offers[0]
        assert [each.price for each in offers] == sorted(each.price for each in offers)
        contract = market.order(order_of(offer))
        assert [each.contract for each in market.instances()] == [contract]
        until(lambda: market.instances()[0].state == "running", "it runs")
        box = market.instances()[0]
        assert (box.label, box.machine, box.host) == ("mediaflow-test-one", offer.machine, offer.host)
        assert box.price == pytest.approx(offer.price, rel=0.2)
        assert abs(box.started - time.time()) < 600
        assert "born 1" in market.logs(contract, 10)
        charges = until(lambda: market.charges(time.time()), "it is charged for")
        assert {(each.contract, each.label) for each in charges} == {(contract, "mediaflow-test-one")}
        assert all(each.dollars > 0 and each.day % 86400 == 0 for each in charges)
        market.destroy(contract)
        assert market.instances() == []
        market.destroy(contract)  # gone already


@pytest.mark.slow
def test_offers_are_those_that_the_settings_ask_for(at: Any) -> None:
    wish = {
        "gpu_ram_gb": 12,
        "reliability": 0.97,
        "verified": True,
        "datacenter": False,
        "inet_down_mbps": 300,
        "cuda": 12.4,
        "regions": ["DE", "SE", "PL", "FR"],
        "gpus": ["RTX 3060", "RTX 3090", "RTX 4090", "RTX A4000"],
    }
    with vast_market() as server:
        found = at(server.url, offers=wish).offers()
        assert found
        assert all(each.gpu_ram_gb >= 11.4 and each.reliability >= 0.97 and each.verified for each in found)
        assert all(each.down_mbps >= 300 and each.cuda >= 12.4 for each in found)
        assert {each.region for each in found} <= {"DE", "SE", "PL", "FR"}
        assert {each.gpu for each in found} <= {"RTX 3060", "RTX 3090", "RTX 4090", "RTX A4000"}
        assert len(at(server.url).offers()) > len(found)
        assert all(each.datacenter for each in at(server.url, offers={"datacenter": True}).offers())
        cheap = at(server.url, caps={"price_per_hour": 0.1}).offers()
        assert cheap
        assert all(each.price <= 0.1 for each in cheap)


@pytest.mark.slow
def test_an_interruptible_box_is_cheaper_and_one_that_is_outbid_is_stopped(at: Any) -> None:
    with vast_market("outbid", box=SLEEPS) as server:
        market = at(server.url, rent="interruptible")
        offer = market.offers()[0]
        dearer = next(each for each in at(server.url).offers() if each.id == offer.id)
        assert offer.bid < dearer.price
        market.order(order_of(offer, bid=round((offer.bid - offer.storage) * 1.2, 4)))
        until(lambda: market.instances()[0].state == "stopped", "it is outbid")


@pytest.mark.slow
def test_a_bid_that_is_too_low_names_the_box_that_was_made_all_the_same(at: Any) -> None:
    with vast_market(box=SLEEPS) as server:
        market = at(server.url, rent="interruptible")
        offer = market.offers()[0]
        with pytest.raises(OrderUncertain) as error:
            market.order(order_of(offer, bid=0.001))
        assert error.value.contract == market.instances()[0].contract
        assert market.instances()[0].state == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "kind"), [("gone", OfferGone), ("late", OrderUncertain), ("429", Throttled)]
)
def test_what_an_order_may_meet_has_an_error_of_its_own(at: Any, fault: str, kind: type[Exception]) -> None:
    with vast_market(box=SLEEPS) as calm:
        offer = at(calm.url).offers()[0]
    with vast_market(fault, box=SLEEPS) as server:
        market = at(server.url)
        with pytest.raises(kind):
            market.order(order_of(offer))
        # Where it is not known, there is one; and there are never two.
        assert len(market.instances()) == (1 if kind is OrderUncertain else 0)


@pytest.mark.slow
def test_without_credit_nothing_is_rented(at: Any) -> None:
    with vast_market(credit=0) as server:
        market = at(server.url)
        with pytest.raises(NoCredit):
            market.order(order_of(market.offers()[0]))


@pytest.mark.slow
def test_a_wrong_key_is_refused_and_not_repeated(at: Any) -> None:
    with vast_market() as server:
        market = at(server.url, KEY)
        for call in (market.instances, market.offers, market.credit, lambda: market.destroy(1)):
            with pytest.raises(Refused) as error:
                call()
            assert KEY not in str(error.value)


@pytest.mark.slow
def test_calls_that_come_too_soon_wait_as_long_as_the_market_says(at: Any) -> None:
    with vast_market(haste=2) as server:
        market = at(server.url)
        for _ in range(4):
            market.instances()  # half a second apart at least, or it would be refused
        assert 0 < market._pauses["list"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["5xx=2", "outage=2"])
def test_a_market_that_is_out_is_unknown_and_not_empty(at: Any, fault: str) -> None:
    with vast_market(fault) as server:
        market = at(server.url)
        with pytest.raises(MarketError):
            market.instances()
        assert market.instances() == []


# --- a market that misbehaves ---


@contextmanager
def answering(status: int, body: Any) -> Iterator[tuple[str, list[str]]]:
    """A server that always answers this; its URL, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            asked.append(f"{self.command} {self.path}")
            with suppress(ValueError):
                self.rfile.read(int(self.headers.get("content-length") or 0))
            said = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names are http.server's

        def log_message(self, *_arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


ROW = {
    "id": 1, "label": "mediaflow-test-a", "machine_id": 2, "host_id": 3, "gpu_name": "RTX 4090",
    "cur_state": "running", "intended_status": "running", "next_state": "running",
    "actual_status": "running", "dph_total": 0.4, "start_date": 1.0, "status_msg": "",
}  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "",
        "<html>login</html>",
        {"success": False, "instances": []},
        {"instances": None},
        {"instances": [], "total_instances": 3},
        {"instances": [], "next_token": "7"},
        {"instances": {"1": ROW}},
        {"instances": [{**ROW, "start_date": None}]},
        {"instances": [{key: value for key, value in ROW.items() if key != "label"}]},
        {"instances": [{key: value for key, value in ROW.items() if key != "cur_state"}]},
        {"instances": [None]},
    ],
    ids=lambda body: json.dumps(body)[:40],
)
def test_an_odd_list_is_unknown_and_not_empty(at: Any, body: Any) -> None:
    with answering(200, body) as (url, _), pytest.raises(MarketError):
        at(url).instances()


def test_an_odd_box_of_another_program_with_this_account_is_left_out_of_the_list(at: Any) -> None:
    others = [
        {**ROW, "id": 2, "label": "theirs", "host_id": None},
        {**ROW, "id": 3, "label": None, "start_date": None},
        {"id": 4, "label": "mediaflow-other-a"},
    ]
    with answering(200, {"instances": [*others, ROW], "total_instances": 4}) as (url, _):
        assert [each.contract for each in at(url).instances()] == [1]


OFFER = {
    "id": 1, "machine_id": 2, "host_id": 3, "gpu_name": "RTX 3060", "gpu_ram": 12288, "dph_total": 0.1,
    "min_bid": 0.05, "storage_cost": 0.15, "reliability2": 0.99, "verification": "verified",
    "hosting_type": 0, "geolocation": "Sweden, SE", "cuda_max_good": 12.8, "inet_down": 500, "inet_up": 300,
}  # fmt: skip


def test_an_odd_offer_is_left_out_and_a_list_of_odd_offers_is_unknown(at: Any) -> None:
    odd = [{**OFFER, "inet_up": None}, {"id": 5}]
    with answering(200, {"offers": [*odd, OFFER]}) as (url, _):
        assert [each.id for each in at(url).offers()] == [1]
    with answering(200, {"offers": odd}) as (url, _), pytest.raises(MarketError):
        at(url).offers()


def test_an_offer_that_takes_no_bids_is_none_for_an_interruptible_box(at: Any) -> None:
    with answering(200, {"offers": [{**OFFER, "id": 7, "min_bid": None}, OFFER]}) as (url, _):
        assert [each.id for each in at(url, rent="interruptible").offers()] == [1]
        assert [each.id for each in at(url).offers()] == [7, 1]
    with answering(200, {"offers": [{**OFFER, "min_bid": None}]}) as (url, _):
        assert at(url, rent="interruptible").offers() == []


@pytest.mark.parametrize("what", ["instances", "charges"])
def test_a_second_page_that_came_too_soon_is_asked_for_again_after_a_pause(
    at: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    import requests

    charge = {"source": "instance-1", "start": 0, "amount": 1.0}
    market, called = at("http://127.0.0.1:1"), [float("-inf")]

    def page(parameters: dict[str, Any] | None = None, **named: Any) -> dict[str, Any]:
        called.append(time.monotonic())
        if called[-1] - called[-2] < 0.2:
            refused = requests.Response()
            refused.status_code, refused._content = 429, b"endpoint threshold=0.2"
            raise requests.HTTPError(response=refused)
        given = {**(parameters or {}), **named}
        token = None if given.get("after_token") or given.get("next_token") else "1"
        return {"instances": [ROW], "results": [charge], "next_token": token}

    monkeypatch.setattr(market._sdk, "show_instances_v1", page)
    monkeypatch.setattr(market._sdk, "show_invoices_v1", page)
    read = market.instances if what == "instances" else lambda: market.charges(0)
    for _ in range(3):
        assert len(read()) == 2


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "running"),
        ({"actual_status": None}, "loading"),
        ({"actual_status": "created"}, "loading"),
        ({"actual_status": "rebooting"}, "loading"),
        ({"actual_status": "loading", "status_msg": "Error: OCI runtime create failed: x"}, "exited"),
        ({"actual_status": "exited"}, "exited"),
        ({"actual_status": "offline"}, "offline"),
        ({"actual_status": "frozen"}, "exited"),
        ({"actual_status": "something new"}, "unknown"),
        ({"cur_state": "stopped", "intended_status": "stopped", "next_state": "stopped"}, "stopped"),
        ({"cur_state": "stopped", "intended_status": "running", "next_state": "running"}, "running"),
    ],
)
def test_four_states_are_summed_up_in_one(at: Any, changes: dict[str, Any], state: str) -> None:
    with answering(200, {"instances": [ROW | changes]}) as (url, _):
        assert [each.state for each in at(url).instances()] == [state]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_order_is_sent_once_whatever_comes_back(at: Any, status: int) -> None:
    with answering(status, "<html>oh</html>") as (url, asked):
        with pytest.raises(OrderUncertain):
            at(url).order(Order(1, "mediaflow-test-a", "image", 20, {}))
        assert asked == ["PUT /api/v0/asks/1/"]


@pytest.mark.parametrize(
    "body", [{}, {"success": True}, {"success": True, "new_contract": None}, [], "what?"]
)
def test_an_order_whose_answer_names_no_contract_is_uncertain(at: Any, body: Any) -> None:
    with answering(200, body) as (url, asked):
        with pytest.raises(OrderUncertain):
            at(url).order(Order(1, "mediaflow-test-a", "image", 20, {}))
        assert len(asked) == 1


def test_an_order_that_could_not_be_sent_made_no_box(at: Any) -> None:
    with pytest.raises(MarketError) as error:
        at(f"http://127.0.0.1:{free_port()}").order(Order(1, "mediaflow-test-a", "image", 20, {}))
    assert not isinstance(error.value, OrderUncertain)


def test_an_order_whose_answer_does_not_come_is_uncertain(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ORDER_SECONDS", 0.3)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # accepts, and never answers
    try:
        with pytest.raises(OrderUncertain):
            at(f"http://127.0.0.1:{server.server_address[1]}").order(Order(1, "a", "image", 20, {}))
    finally:
        server.server_close()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500, 502])
@pytest.mark.parametrize("html", [True, False])
def test_a_market_that_repeats_the_key_is_not_repeated(at: Any, status: int, html: bool) -> None:
    said = f"no {KEY} \x1b[31m"
    with answering(status, said if html else {"error": KEY, "msg": said}) as (url, _):
        market = at(url, KEY)
        calls = [market.instances, market.offers, market.credit, lambda: market.charges(0)]
        calls += [lambda: market.order(Order(1, "a", "image", 20, {})), lambda: market.logs(1, 5)]
        for call in calls:
            with pytest.raises(MarketError) as error:
                call()
            assert KEY not in str(error.value)
            assert "\x1b" not in str(error.value)


def test_a_quota_of_the_day_that_is_spent_is_throttled(at: Any) -> None:
    with answering(429, {"error": "search_quota_exceeded"}) as (url, _), pytest.raises(Throttled):
        at(url).offers()
