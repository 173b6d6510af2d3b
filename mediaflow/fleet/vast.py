"""Vast.ai as a market, through its SDK. All that goes wrong there is a MarketError; none shows the key."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from mediaflow.fleet.market import (
    Charge,
    Instance,
    InstanceState,
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

# Seconds between two calls of a kind, as the market's limits are, with a little more.
SPACING = {"order": 5.0, "destroy": 3.2, "instances": 1.2, "charges": 1.2, "offers": 6.2}
TIMEOUT_SECONDS = 40.0
# The SDK's attempts at what may be asked twice; an order is sent once.
ATTEMPTS = 3
HOURS_OF_A_MONTH = 730.0
MOST_OFFERS = 500
PAGE = 25
MOST_PAGES = 100
# The start script of the image does the rest.
STATES: Mapping[str, InstanceState] = {
    "created": "loading",
    "loading": "loading",
    "rebooting": "loading",
    "running": "running",
    "stopped": "stopped",
    "frozen": "stopped",
    "exited": "exited",
    "offline": "offline",
}
FAILED_TO_START = "OCI runtime create failed"
Answer = TypeVar("Answer")


class Vast:
    """The account at Vast.ai with this key; `url` is another server that speaks its interface (VAST_URL)."""

    def __init__(self, key: str, settings: FleetSettings, url: str | None = None) -> None:
        os.environ.setdefault("VAST_LOG_LEVEL", "error")
        try:
            from vastai import VastAI
        except ImportError:
            raise Refused("The package `vastai` is not installed: `pip install mediaflow[fleet]`.") from None
        self._key, self._settings = key, settings
        self._sdk = VastAI(api_key=key, server_url=url, retry=ATTEMPTS)
        self._once = VastAI(api_key=key, server_url=url, retry=1)
        for sdk in (self._sdk, self._once):
            sdk.client.timeout = TIMEOUT_SECONDS
        self._last: dict[str, float] = {}

    def offers(self) -> Sequence[Offer]:
        """What can be rented now and fits the settings. Raises MarketError."""
        kind = "bid" if self._settings.rent == "interruptible" else "on-demand"
        rows = self._call(
            "offers",
            lambda: self._sdk.search_offers(
                query=_query(self._settings),
                type=kind,
                order="dph_total",
                limit=MOST_OFFERS,
                storage=self._settings.disk_gb,
                no_default=True,
            ),
        )
        return self._read("offers", lambda: [_offer(row, self._settings.disk_gb) for row in _list(rows)])

    def order(self, order: Order) -> int:
        """Rent; the contract. Sent once. Raises OfferGone, NoCredit, Refused, Throttled, OrderUncertain."""
        import requests

        self._wait("order")
        try:
            answer = self._once.create_instance(
                order.offer,
                image=order.image,
                disk=order.disk_gb,
                env=dict(order.environment),
                price=order.bid,
                label=order.label,
                runtype="args",
                cancel_unavail=True,
            )
        except requests.HTTPError as error:
            raise self._refused_order(error.response) from None
        except (
            Exception
        ) as error:  # a time-out, a cut, an answer that is no JSON: it may have been carried out
            raise OrderUncertain(self._plain(error)) from None
        contract = answer.get("new_contract") if isinstance(answer, dict) else None
        if not isinstance(contract, int):
            raise OrderUncertain("Vast.ai answered an order without naming a contract.")
        if not answer.get("success", False):
            raise OrderUncertain(f"Vast.ai refused an order: {self._plain(answer.get('msg'))}", contract)
        return contract

    def instances(self) -> Sequence[Instance]:
        """All that is rented with this account. Raises MarketError when the list is odd."""
        rows: list[Any] = []
        token: str | None = None
        for _ in range(MOST_PAGES):
            more = {"after_token": token} if token else {}
            page = self._call(
                "instances",
                lambda more=more: self._sdk.show_instances_v1(  # type: ignore[misc]
                    {
                        "select_filters": {},
                        "order_by": [{"col": "id", "dir": "asc"}],
                        "limit": PAGE,
                        **more,
                    }
                ),
            )
            if not isinstance(page, dict) or not isinstance(page.get("instances"), list):
                raise MarketError("Vast.ai's list of instances is not one.")
            rows += page["instances"]
            total = page.get("total_instances")
            token = page.get("next_token")
            if not token:
                break
        if isinstance(total, int) and total != len(rows):
            raise MarketError(f"Vast.ai listed {len(rows)} instances and said that there are {total}.")
        return self._read("instances", lambda: [_instance(row) for row in rows])

    def destroy(self, contract: int) -> None:
        """End a box; no error where it is gone already. Raises MarketError."""
        try:
            answer = self._call("destroy", lambda: self._sdk.destroy_instance(contract))
        except _NotFound:
            return
        if isinstance(answer, dict) and answer.get("success") is False:
            raise MarketError(f"Vast.ai did not end contract {contract}: {self._plain(answer.get('msg'))}")

    def charges(self, since: float) -> Sequence[Charge]:
        """What was paid from the day of `since` on. Raises MarketError."""
        rows: list[Any] = []
        token: str | None = None
        for _ in range(MOST_PAGES):
            more = {"next_token": token} if token else {}
            page = self._call(
                "charges",
                lambda more=more: self._sdk.show_invoices_v1(  # type: ignore[misc]
                    charges=True,
                    charge_type=["instance"],
                    start_date=int(since // 86400 * 86400),
                    end_date=int(time.time()) + 86400,
                    limit=100,
                    **more,
                ),
            )
            if not isinstance(page, dict) or not isinstance(page.get("results"), list):
                raise MarketError("Vast.ai's list of charges is not one.")
            rows += page["results"]
            token = page.get("next_token")
            if not token:
                break
        return self._read("charges", lambda: [_charge(row) for row in rows])

    def credit(self) -> float:
        """Dollars left. Raises MarketError."""
        user = self._call("user", self._sdk.show_user)
        return self._read("user", lambda: float(user["credit"]))

    def logs(self, contract: int, lines: int) -> str:
        """The end of a box's log. Raises MarketError."""
        text = self._call("logs", lambda: self._sdk.logs(contract, tail=str(lines)))
        if not isinstance(text, str):
            raise MarketError("Vast.ai has no log of this box (yet).")
        return self._hidden(text)

    # --- the border ---

    def _call(self, kind: str, ask: Callable[[], Answer]) -> Answer:
        import requests

        self._wait(kind)
        try:
            return ask()
        except requests.HTTPError as error:
            raise self._refused(error.response) from None
        except MarketError:
            raise
        except Exception as error:  # the network, or an answer that the SDK itself cannot read
            raise MarketError(f"Vast.ai cannot be asked: {self._plain(error)}") from None

    def _read(self, kind: str, read: Callable[[], Answer]) -> Answer:
        try:
            return read()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"{type(error).__name__} {error}"
            raise MarketError(f"Vast.ai's answer ({kind}) is not as it should be: {what}") from None

    def _wait(self, kind: str) -> None:
        """Keep the market's distance between two calls."""
        pause = self._last.get(kind, float("-inf")) + SPACING.get(kind, 0.0) - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        self._last[kind] = time.monotonic()

    def _refused(self, response: Any) -> MarketError:
        """What an answer other than 200 means."""
        status, code, said = response.status_code, *self._said(response)
        if status == 429:
            return Throttled(f"Vast.ai wants to be asked less often: {said}")
        if status in (401, 403) or code == "auth_error" or "invalid user key" in said.lower():
            return Refused(
                f"Vast.ai refuses the API key: {said}. Write a good one into VAST_API_KEY or its file."
            )
        if status == 404:
            return _NotFound(f"Vast.ai knows no such thing: {said}")
        return MarketError(f"Vast.ai answered {status}: {said}")

    def _refused_order(self, response: Any) -> MarketError:
        status, code, said = response.status_code, *self._said(response)
        try:
            contract = response.json().get("new_contract")
        except (ValueError, AttributeError):
            contract = None
        if isinstance(contract, int):
            return OrderUncertain(f"Vast.ai refused an order and made a box all the same: {said}", contract)
        if (
            code == "no_such_ask"
            or "no_such_ask" in said
            or (status == 410 and code != "deprecated_endpoint")
        ):
            return OfferGone(f"The offer is gone: {said}")
        if "credit" in code or "credit" in said.lower() or status == 402:
            return NoCredit(f"Vast.ai: {said}")
        if status >= 500 or status == 408:
            return OrderUncertain(f"Vast.ai answered an order with {status}: {said}")
        found = self._refused(response)
        return Refused(str(found)) if type(found) in (MarketError, _NotFound) else found

    def _said(self, response: Any) -> tuple[str, str]:
        """The code and the words of an error."""
        try:
            body = response.json()
        except ValueError:
            return "", self._plain(response.text) or "no reason given"
        if not isinstance(body, dict):
            return "", self._plain(body)
        said = body.get("msg") or body.get("detail") or body.get("error") or "no reason given"
        return str(body.get("error") or ""), self._plain(said)

    def _plain(self, what: object) -> str:
        """What was said, on one line, short, and without the key."""
        return self._hidden(" ".join(str(what).split()))[:300]

    def _hidden(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


class _NotFound(MarketError):
    """404 of something that is not (any more)."""


def _query(settings: FleetSettings) -> dict[str, dict[str, Any]]:
    """The settings' filters as the market's search has them."""
    wish = settings.offers
    query: dict[str, dict[str, Any]] = {
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "external": {"eq": False},
        "num_gpus": {"eq": 1},
        "gpu_ram": {"gte": wish.gpu_ram_gb * 1000},  # 8 GB cards have a little less than 8192
        "reliability2": {"gte": wish.reliability},
        "inet_down": {"gte": wish.inet_down_mbps},
        "cuda_max_good": {"gte": wish.cuda},
        "disk_space": {"gte": settings.disk_gb},
    }
    if wish.verified:
        query["verified"] = {"eq": True}
    if wish.datacenter:
        query["datacenter"] = {"eq": True}
    if wish.gpus:
        query["gpu_name"] = {"in": list(wish.gpus)}
    if wish.regions:
        query["geolocation"] = {"in": list(wish.regions)}
    return query


def _list(rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise TypeError("it is no list")
    return rows


def _offer(row: Mapping[str, Any], disk_gb: float) -> Offer:
    storage = float(row.get("storage_cost") or 0.0) * disk_gb / HOURS_OF_A_MONTH
    verified = row.get("verified")
    return Offer(
        id=int(row["id"]),
        machine=int(row["machine_id"]),
        host=int(row["host_id"]),
        gpu=str(row["gpu_name"]),
        gpu_ram_gb=float(row["gpu_ram"]) / 1024,
        price=float(row["dph_total"]),
        bid=float(row.get("min_bid") or row["dph_total"]) + storage,
        storage=storage,
        reliability=float(row.get("reliability2") or row.get("reliability") or 0.0),
        verified=bool(verified) if verified is not None else row.get("verification") == "verified",
        datacenter=row.get("hosting_type") == 1 or bool(row.get("datacenter")),
        region=str(row.get("geolocation") or "").rpartition(",")[2].strip(),
        cuda=float(row.get("cuda_max_good") or 0.0),
        down_mbps=float(row.get("inet_down") or 0.0),
        up_mbps=float(row.get("inet_up") or 0.0),
        traffic_in=float(row.get("inet_down_cost") or 0.0),
        traffic_out=float(row.get("inet_up_cost") or 0.0),
        score=float(row.get("score") or 0.0),
    )


def _instance(row: Mapping[str, Any]) -> Instance:
    said = str(row.get("status_msg") or "")
    return Instance(
        contract=int(row["id"]),
        label=str(row["label"] or ""),
        machine=int(row["machine_id"]),
        host=int(row.get("host_id") or 0),
        gpu=str(row.get("gpu_name") or ""),
        state=_state(row, said),
        price=float(row.get("dph_total") or 0.0),
        started=float(row["start_date"]),
        said=" ".join(said.split())[:300],
    )


def _state(row: Mapping[str, Any], said: str) -> InstanceState:
    """One word for what Vast.ai says in four columns."""
    if FAILED_TO_START in said:
        return "exited"
    if row["cur_state"] == row["intended_status"] == row.get("next_state") == "stopped":
        return "stopped"  # outbid, or out of credit
    status = row["actual_status"]
    return "loading" if status is None else STATES.get(str(status), "unknown")


def _charge(row: Mapping[str, Any]) -> Charge:
    start = float(row["start"])
    source = str(row["source"])
    return Charge(
        contract=int(source.rpartition("-")[2]),
        label=str((row.get("metadata") or {}).get("label") or ""),
        day=start // 86400 * 86400,
        dollars=float(row["amount"]),
    )
