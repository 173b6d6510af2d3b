"""Vast.ai's HTTP interface in front of a simulated account, for the unmodified SDK and its command."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from mediaflow.fleet.simulator import account, arguments, rows
from mediaflow.fleet.simulator.account import Account, Denied
from mediaflow.fleet.simulator.processes import Processes
from mediaflow.fleet.simulator.rented import Rented

# Seconds that must lie between two calls, by endpoint.
THRESHOLDS = {
    "search": 6.0,
    "create": 4.5,
    "destroy": 3.0,
    "show": 2.0,
    "list": 1.0,
    "change": 1.0,
    "bid": 5.5,
    "logs": 1.0,
    "charges": 1.0,
    "invoices": 3.0,
}
LATE_SECONDS = 130.0  # the SDK waits 120
PAGE = 25
Handler = Callable[[Request, float], Awaitable[Response]]


class Face:
    """The interface: one account, one key, and the boxes' own keys, which are good for themselves only."""

    def __init__(self, market: Account, processes: Processes, url: str, key: str, haste: float = 1.0) -> None:
        self.market = market
        self.processes = processes
        self.url = url
        self.key = key
        self.haste = haste
        self._called: dict[tuple[str, str], float] = {}
        self._searches: list[float] = []
        self._logs: dict[str, str] = {}

    def app(self, lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]]) -> Starlette:
        """The routes; `lifespan` is what goes on beside them."""
        v0, one = "/api/v0", "/api/v0/instances/{contract:int}/"
        return Starlette(
            routes=[
                _route(f"{v0}/bundles/", "POST", self._guarded("search", self.search)),
                _route(f"{v0}/search/asks/", "PUT", self._guarded("search", self.search)),
                _route(f"{v0}/asks/{{offer:int}}/", "PUT", self._guarded("create", self.create)),
                _route("/api/v1/instances/", "GET", self._guarded("list", self.list)),
                _route(f"{v0}/instances/", "GET", self._guarded("old", self.gone)),
                _route(f"{v0}/instances/", "DELETE", self._guarded("destroy", self.destroy_many)),
                _route(f"{v0}/instances/", "PUT", self._guarded("change", self.change_many)),
                _route(f"{v0}/instances/filters/", "GET", self._guarded("filters", self.filters)),
                _route(one, "GET", self._guarded("show", self.show, own=True)),
                _route(one, "DELETE", self._guarded("destroy", self.destroy, own=True)),
                _route(one, "PUT", self._guarded("change", self.change, own=True)),
                _route(
                    f"{v0}/instances/reboot/{{contract:int}}/", "PUT", self._guarded("change", self.reboot)
                ),
                _route(f"{v0}/instances/bid_price/{{contract:int}}/", "PUT", self._guarded("bid", self.bid)),
                _route(
                    f"{v0}/instances/request_logs/{{contract:int}}/", "PUT", self._guarded("logs", self.logs)
                ),
                _route(f"{v0}/users/current", "GET", self._guarded("user", self.user)),
                _route(f"{v0}/charges/", "GET", self._guarded("charges", self.charges)),
                _route("/api/v1/invoices/", "GET", self._guarded("invoices", self.invoices)),
                Route("/logs/{name}", self.log_text),
            ],
            lifespan=lifespan,
            exception_handlers={Denied: _denied, HTTPException: _no_such_page},
        )

    async def search(self, request: Request, now: float) -> Response:
        """Offers that pass the filters."""
        body = await arguments.body(request)
        query = body.get("q", body)
        if not isinstance(query, dict):
            raise arguments.invalid("q is no JSON object.")
        bid = query.get("type") in ("bid", "interruptible")
        disk = arguments.number(query.get("allocated_storage") or 5, "allocated_storage")
        limit = arguments.whole(query.get("limit") or 64, "limit")
        found = [rows.offer_row(ask, now, disk, bid) for ask in self.market.search(now)]
        return JSONResponse({"offers": arguments.matching(found, query, query.get("order") or ())[:limit]})

    async def create(self, request: Request, now: float) -> Response:
        """An order; carried out also where its answer is late or lost."""
        body = await arguments.body(request)
        arguments.check_order(body)
        price = body.get("price")
        order = account.Request(
            offer=request.path_params["offer"],
            label=body.get("label") or "",
            image=body["image"],
            disk_gb=float(body.get("disk") or 10),
            environment={name: str(value) for name, value in (body.get("env") or {}).items()},
            bid=None if price is None else float(price),
        )
        box = self.market.order(now, order)
        if self.market.faults.strikes("late"):
            await anyio.sleep(LATE_SECONDS / self.haste)
            return PlainTextResponse("<html>504 Gateway Time-out</html>", 504, media_type="text/html")
        return JSONResponse({"success": True, "new_contract": box.contract, "instance_api_key": box.key})

    async def list(self, request: Request, now: float) -> Response:
        """All boxes, a page at a time."""
        filters = arguments.filters(request)
        limit, after = arguments.page(request, PAGE, PAGE)
        boxes = sorted(self.market.listed(now), key=lambda box: box.contract)
        found = arguments.matching([*map(self._row(now), boxes)], filters)
        rest = [row for row in found if row["id"] > after]
        labels: dict[str, int] = {}
        for row in found:
            labels[row["label"]] = labels.get(row["label"], 0) + 1
        return JSONResponse(
            {
                "success": True,
                "instances_found": len(rest[:limit]),
                "total_instances": len(found),
                "label_counts": labels,
                "next_token": str(rest[limit - 1]["id"]) if len(rest) > limit else None,
                "instances": rest[:limit],
            }
        )

    async def show(self, request: Request, now: float) -> Response:
        """One box; null where there is none."""
        box = self.market.boxes.get(request.path_params["contract"])
        self.market.advance(now)
        return JSONResponse({"instances": self._row(now)(box) if box and box.ended is None else None})

    async def destroy(self, request: Request, now: float) -> Response:
        """End a box."""
        self.market.destroy(now, request.path_params["contract"])
        return JSONResponse({"success": True, "msg": "Instance destroyed."})

    async def destroy_many(self, request: Request, now: float) -> Response:
        """End several boxes."""
        contracts = (await arguments.body(request)).get("instance_ids", [])
        for contract in arguments.wholes(contracts, "instance_ids"):
            self.market.destroy(now, contract)
        return JSONResponse({"success": True})

    async def change(self, request: Request, now: float) -> Response:
        """Start, stop or label a box."""
        self._change(request.path_params["contract"], await arguments.body(request), now)
        return JSONResponse({"success": True})

    async def change_many(self, request: Request, now: float) -> Response:
        """Start or stop several boxes."""
        body = await arguments.body(request)
        for contract in arguments.wholes(body.get("ids", []), "ids"):
            self._change(contract, body, now)
        return JSONResponse({"success": True})

    async def reboot(self, request: Request, now: float) -> Response:
        """Stop a box and start it again."""
        self.market.stop(now, request.path_params["contract"])
        self.market.restart(now, request.path_params["contract"])
        return JSONResponse({"success": True})

    async def bid(self, request: Request, now: float) -> Response:
        """Change a bid."""
        price = (await arguments.body(request)).get("price")
        price = None if price is None else arguments.number(price, "price")
        self.market.bid(now, request.path_params["contract"], price)
        return JSONResponse({"success": True})

    async def logs(self, request: Request, now: float) -> Response:
        """Where the end of a box's log can be fetched from, for a while."""
        body = await arguments.body(request)
        wanted = arguments.text(body.get("filter"), "filter")
        tail = arguments.whole(body.get("tail") or 1000, "tail")
        box = self.market.box(now, request.path_params["contract"])
        lines = [line for line in self.processes.log(box).splitlines() if wanted in line]
        name = f"{uuid4().hex}.log"
        self._logs[name] = "\n".join(lines[-tail:]) + "\n"
        return JSONResponse({"success": True, "result_url": f"{self.url}/logs/{name}", "msg": "Ready."})

    async def log_text(self, request: Request) -> Response:
        """What was asked for by `logs`; nobody is asked who they are."""
        text = self._logs.get(request.path_params["name"])
        return PlainTextResponse(text) if text is not None else PlainTextResponse("not yet", 404)

    async def user(self, request: Request, now: float) -> Response:
        """The account."""
        credit = round(self.market.credit(now), 4)
        who = {"id": 4242, "email": "somebody@example.org", "username": "somebody", "ssh_key": None}
        money = {"credit": credit, "balance": 0.0, "can_pay": True, "has_billing": True}
        return JSONResponse(who | money | {"api_key": self.key, "host_agreement_accepted": 0})

    async def charges(self, request: Request, now: float) -> Response:
        """What boxes cost by day, a page at a time."""
        self.market.advance(now)
        days = arguments.filters(request).get("day") or {}
        if not isinstance(days, dict):
            raise arguments.invalid("day is no JSON object.")
        since, until = (arguments.number(days.get(*each), "day") for each in (("gte", 0), ("lte", now)))
        found = rows.charge_rows(self.market.boxes.values(), since, until)
        found.sort(key=lambda row: row["start"], reverse=request.query_params.get("latest_first") == "true")
        return _page(request, found)

    async def invoices(self, request: Request, now: float) -> Response:
        """What was paid in: nothing that this market knows of."""
        return _page(request, [])

    async def filters(self, request: Request, now: float) -> Response:
        """What can be asked of the list of boxes."""
        names = ("actual_status", "verification", "gpu_name", "label")
        found = [self._row(now)(box) for box in self.market.listed(now)]
        return JSONResponse(
            {"success": True, "filters": [{name: row[name] for name in names} for row in found]}
        )

    async def gone(self, request: Request, now: float) -> Response:
        """The list of old, which is no more."""
        raise Denied(410, "deprecated_endpoint", "This endpoint is deprecated: use /api/v1/instances/.")

    def _change(self, contract: int, body: dict[str, Any], now: float) -> None:
        if "label" in body:
            self.market.box(now, contract).label = str(body["label"])[:1024]
        elif body.get("state") == "stopped":
            self.market.stop(now, contract)
        elif body.get("state") == "running":
            self.market.restart(now, contract)
        else:
            raise Denied(400, "invalid_args", "Neither a state nor a label.")

    def _row(self, now: float) -> Callable[[Rented], dict[str, Any]]:
        return lambda box: rows.box_row(box, now, self.market.prices.price(box.machine, now)[1])

    def _guarded(self, endpoint: str, handler: Handler, *, own: bool = False) -> Callable[[Request], Any]:
        """A handler behind the key, the limits, and what goes wrong at the door."""

        async def guarded(request: Request) -> Response:
            self._admit(request, own)
            now = time.time()
            refused = self._refusal(endpoint, request, now)
            return refused or await handler(request, now)

        return guarded

    def _admit(self, request: Request, own: bool) -> None:
        """Raises Denied unless the key is the account's, or that of the box which the request is about."""
        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        given = given or request.query_params.get("api_key", "")
        if not given:
            raise Denied(403, "auth_error", "This action requires login.")
        box = self.market.boxes.get(request.path_params.get("contract", 0))
        if given != self.key and not (own and box is not None and given == box.key):
            raise Denied(404, "auth_error", "Invalid user key")

    def _refusal(self, endpoint: str, request: Request, now: float) -> Response | None:
        faults = self.market.faults
        if faults.strikes("5xx"):
            return PlainTextResponse("<html>502 Bad Gateway</html>", 502, media_type="text/html")
        if faults.lasts("outage", now, self.market.prices.start):
            return PlainTextResponse("<html>503 Service Unavailable</html>", 503, media_type="text/html")
        threshold = THRESHOLDS.get(endpoint, 0.0) / self.haste
        # The pages after the first of a list belong to one call.
        key = (endpoint, request.headers.get("authorization", ""))
        free = "after_token" in request.query_params or not threshold
        if endpoint == "search":  # ten a minute, however close
            self._searches = [at for at in self._searches if at > now - 10 * threshold]
            soon, threshold = len(self._searches) >= 10, 6.0
            if not soon:
                self._searches.append(now)
        else:
            soon = not free and now - self._called.get(key, 0.0) < threshold
        if soon or faults.strikes("429"):
            text = f"API requests too frequent: endpoint threshold={threshold:g}"
            return PlainTextResponse(text, 429)
        self._called[key] = now
        return None


def _route(path: str, method: str, endpoint: Callable[[Request], Any]) -> Route:
    return Route(path, endpoint, methods=[method])


def _page(request: Request, found: list[dict[str, Any]]) -> Response:
    limit, after = arguments.page(request, 100, 20)
    page = found[after : after + limit]
    token = str(after + limit) if after + limit < len(found) else None
    answer = {"success": True, "count": len(page), "total": len(found), "next_token": token, "results": page}
    return JSONResponse(answer)


async def _denied(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Denied)
    said = {"success": False, "error": error.code, "msg": error.message}
    return JSONResponse(said | ({"new_contract": error.contract} if error.contract else {}), error.status)


async def _no_such_page(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)
