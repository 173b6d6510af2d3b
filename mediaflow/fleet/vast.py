"""Vast.ai as a market, through its unmodified SDK (`vastai`). Its errors become ours; none holds the key."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from mediaflow.errors import ConfigError
from mediaflow.fleet import vast_rows as rows
from mediaflow.fleet.labels import label_prefix
from mediaflow.fleet.market import (
    Charge,
    Instance,
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
from mediaflow.names import readable

if TYPE_CHECKING:
    from requests import Response

Answer = TypeVar("Answer")
READ_SECONDS = 15.0
ORDER_SECONDS = 45.0
READ_ATTEMPTS = 2
MOST_OFFERS = 200
PAGE = 25
MOST_PAGES = 100
LONGEST_PAUSE = 10.0  # between two calls of one kind
_THRESHOLD = re.compile(r"threshold=(\d+(?:\.\d+)?)")


class Vast:
    """The market, for one account. It may keep the caller waiting: calls of a kind must not be too close."""

    def __init__(self, fleet: FleetSettings, key: str) -> None:
        """Raises ConfigError where the SDK is not installed."""
        # At its usual level it tells of calls on standard error.
        os.environ.setdefault("VAST_LOG_LEVEL", "error")
        try:
            from vastai import VastAI
        except ImportError:
            raise ConfigError(
                "Vast.ai's SDK is not installed: scripts/setup --fleet, or pip install 'mediaflow[fleet]'."
            ) from None
        self._fleet = fleet
        self._key = key
        server = _server()
        self._sdk = VastAI(api_key=key, server_url=server, retry=READ_ATTEMPTS)
        self._sdk.client.timeout = READ_SECONDS
        # An order that was sent is never sent again.
        self._ordering = VastAI(api_key=key, server_url=server, retry=1)
        self._ordering.client.timeout = ORDER_SECONDS
        self._called: dict[str, float] = {}
        self._pauses: dict[str, float] = {}

    def offers(self) -> Sequence[Offer]:
        """What can be rented now, asked for by the settings; what has no price as it should is left out."""
        bidding = self._fleet.rent == "interruptible"
        found = self._ask(
            "offers",
            lambda: self._sdk.search_offers(
                rows.filters(self._fleet),
                type="bid" if bidding else "on-demand",
                order="dph_total",
                limit=MOST_OFFERS,
                storage=self._fleet.disk_gb,
                no_default=True,
            ),
        )
        with rows.understood("list of offers"):
            return rows.offers(found, self._fleet)

    def order(self, order: Order) -> int:
        """Rent; the contract. Sent once, never again: raises OfferGone, NoCredit, OrderUncertain."""
        answer = self._send(
            "order",
            lambda: self._ordering.create_instance(
                order.offer,
                image=order.image,
                disk=order.disk_gb,
                env=dict(order.environment),
                price=order.bid,
                label=order.label,
                runtype="args",
                cancel_unavail=True,
            ),
            self._order_error,
        )
        contract = answer.get("new_contract") if isinstance(answer, dict) else None
        if not isinstance(contract, int) or answer.get("success") is False:
            raise OrderUncertain(
                "Vast.ai's answer to an order names no contract.",
                contract if isinstance(contract, int) else None,
            )
        return contract

    def instances(self) -> Sequence[Instance]:
        """All that is rented, also by others with this account. Raises MarketError when the list is odd."""
        found: list[Any] = []
        parameters: dict[str, Any] = {
            "select_filters": {},
            "order_by": [{"col": "id", "dir": "asc"}],
            "limit": PAGE,
        }
        for _ in range(MOST_PAGES):
            # The SDK's own list takes a page without boxes for a list without boxes.
            page = self._ask("list", lambda: self._sdk.show_instances_v1(parameters), paced=not found)
            with rows.understood("list of boxes"):
                found += page["instances"]
                token, total = page.get("next_token"), page.get("total_instances")
            if page.get("success") is False or (page["instances"] == [] and token):
                raise MarketError("Vast.ai's list of boxes is not as expected (an empty page).")
            if not token:
                break
            parameters["after_token"] = token
        if isinstance(total, int) and total > len(found):
            raise MarketError(f"Vast.ai listed {len(found)} boxes of {total}.")
        with rows.understood("list of boxes"):
            return rows.instances(found, label_prefix(self._fleet))

    def destroy(self, contract: int) -> None:
        """End a box; no error where it is gone already."""
        self._ask("destroy", lambda: self._sdk.destroy_instance(contract), gone=None)

    def charges(self, since: float) -> Sequence[Charge]:
        """What was paid from the day of `since` on."""
        found: list[Any] = []
        parameters: dict[str, Any] = {
            "charges": True,
            "charge_type": ["instance"],
            "start_date": int(since // rows.DAY * rows.DAY),
            "end_date": int(time.time()) + rows.DAY,
            "limit": 100,
        }
        for _ in range(MOST_PAGES):
            page = self._ask("charges", lambda: self._sdk.show_invoices_v1(**parameters), paced=not found)
            with rows.understood("list of charges"):
                found += page["results"]
                token = page.get("next_token")
            if not token:
                break
            parameters["next_token"] = token
        with rows.understood("list of charges"):
            return [rows.charge(row) for row in found]

    def credit(self) -> float:
        """Dollars left."""
        user = self._ask("user", self._sdk.show_user)
        with rows.understood("account"):
            return float(user["credit"])

    def logs(self, contract: int, lines: int) -> str:
        """The end of a box's log."""
        text = self._ask("logs", lambda: self._sdk.logs(contract, tail=str(lines)))
        if not isinstance(text, str):
            raise MarketError(f"Vast.ai has no log of box {contract}.")
        return self._without_key(text)

    def _ask(self, kind: str, call: Callable[[], Any], *, paced: bool = True, gone: Any = MarketError) -> Any:
        """A call that may be made twice: also once more where it came too soon after the last."""
        for attempt in (1, 2):
            try:
                return self._send(kind, call, self._read_error, paced=paced or attempt == 2)
            except _Gone:
                if gone is None:
                    return None
                raise MarketError(f"Vast.ai knows nothing of this ({kind}).") from None
            except Throttled:
                if attempt == 2 or kind not in self._pauses:
                    raise
        raise AssertionError

    def _send(
        self,
        kind: str,
        call: Callable[[], Any],
        explain: Callable[[str, Exception], MarketError],
        *,
        paced: bool = True,
    ) -> Any:
        """Make a call, not too soon after the last of its kind. Raises MarketError."""
        from requests import RequestException

        pause = self._called.get(kind, 0.0) + self._pauses.get(kind, 0.0) - time.monotonic()
        if paced and pause > 0:
            time.sleep(pause)
        try:
            return call()
        # The SDK itself trips over answers that it did not expect.
        except (RequestException, TimeoutError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise explain(kind, error) from None
        finally:
            self._called[kind] = time.monotonic()

    def _read_error(self, kind: str, error: Exception) -> MarketError:
        answer = _answer_of(error)
        if answer is None:
            return _unanswered(kind, error)
        code, said = self._said(answer)
        status = answer.status_code
        if status == 429:
            return self._throttled(kind, said)
        if status in (401, 403) or code == "auth_error" or "user key" in said:
            return Refused(
                f"Vast.ai refuses the API key ({status}: {said}). Is it right, and may it do this?"
            )
        if status == 404:
            return _Gone(said)
        if status in (400, 410):
            return Refused(f"Vast.ai refuses the request ({kind}, {status}: {said}).")
        return MarketError(f"Vast.ai answers with an error ({kind}, {status}: {said}).")

    def _order_error(self, kind: str, error: Exception) -> MarketError:
        answer = _answer_of(error)
        if answer is None:
            if _was_not_sent(error):
                return _unanswered(kind, error)
            return OrderUncertain(f"Vast.ai did not answer an order ({type(error).__name__}).")
        code, said = self._said(answer)
        contract = _contract_in(answer)
        status = answer.status_code
        if contract is not None or status == 408 or status >= 500:
            return OrderUncertain(f"Vast.ai answered an order with an error ({status}: {said}).", contract)
        if "no_such_ask" in f"{code} {said}" or status == 410:
            return OfferGone(f"The offer is gone ({said}).")
        if status == 402 or "credit" in f"{code} {said}".lower():
            return NoCredit(f"Vast.ai rents nothing for want of credit ({said}).")
        found = self._read_error(kind, error)
        return Refused(f"Vast.ai refuses an order ({status}: {said}).") if isinstance(found, _Gone) else found

    def _throttled(self, kind: str, said: str) -> Throttled:
        """Remember how far apart calls of this kind must be, where it says so."""
        found = _THRESHOLD.search(said)
        if found:
            self._pauses[kind] = min(float(found[1]) * 1.05, LONGEST_PAUSE)
        return Throttled(f"Vast.ai was asked too often ({kind}: {said}).")

    def _said(self, answer: Response) -> tuple[str, str]:
        """The code and the words of an error, harmless and without the key."""
        try:
            body = answer.json()
            code = str(body.get("error") or "")
            said = str(body.get("msg") or body.get("detail") or code)
        except (ValueError, AttributeError):
            code, said = "", re.sub(r"<[^>]*>", " ", answer.text[:2000])
        return code, readable(self._without_key(" ".join(said.split())[:200])) or "no reason given"

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "…")


class _Gone(MarketError):
    """There is nothing of this number."""


def _unanswered(kind: str, error: Exception) -> MarketError:
    """There was no answer, or none that the SDK understands. The error's own words may hold anything."""
    server = _server()
    # Not what stands before the host: it may be a password.
    who = (
        f"The server of VAST_URL ({readable(urlsplit(server).netloc.rpartition('@')[2])})"
        if server
        else "Vast.ai"
    )
    what = f"{kind}: {type(error).__name__}"
    if not isinstance(error, OSError):
        return MarketError(f"{who} answers in a way that is not understood ({what}).")
    return MarketError(
        f"{who} does not answer ({what}). {'Does it run?' if server else 'Is there a network?'}"
    )


def _server() -> str | None:
    """The address that stands in for Vast.ai's. Raises ConfigError where it is none."""
    server = (os.environ.get("VAST_URL") or "").rstrip("/")
    if server and not re.match(r"https?://[^/]", server):
        raise ConfigError("The variable VAST_URL is no address: it must begin with https:// or http://.")
    return server or None


def _answer_of(error: Exception) -> Response | None:
    """The answer that an error is about."""
    from requests import HTTPError

    return error.response if isinstance(error, HTTPError) else None


def _contract_in(answer: Response) -> int | None:
    """The contract that an error names: something was made all the same."""
    try:
        contract = answer.json().get("new_contract")
    except (ValueError, AttributeError):
        return None
    return contract if isinstance(contract, int) else None


def _was_not_sent(error: Exception) -> bool:
    """Whether there was no connection over which a request could have gone."""
    from requests import ConnectTimeout
    from urllib3.exceptions import NewConnectionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, ConnectTimeout) or isinstance(reason, NewConnectionError)
