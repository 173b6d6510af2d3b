"""The arguments of a request to the simulated market, read as strictly as its answers are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from mediaflow.fleet.simulator import rows
from mediaflow.fleet.simulator.account import Denied


async def body(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Raises Denied."""
    return _object(await request.body() or b"{}", "The body")


def filters(request: Request) -> dict[str, Any]:
    """What `select_filters` asks for. Raises Denied."""
    return _object(request.query_params.get("select_filters") or "{}", "select_filters")


def matching(found: list[dict[str, Any]], wanted: Mapping[str, Any], order: Any = ()) -> list[dict[str, Any]]:
    """The rows that pass filters, in an order. Raises Denied where these have no sense."""
    try:
        return rows.ordered([row for row in found if rows.fits(row, wanted)], order)
    except (KeyError, TypeError, ValueError):
        raise invalid("Filters are {field: {operator: value}}, an order is [[field, asc or desc]].") from None


def number(value: Any, name: str) -> float:
    """A finite number. Raises Denied."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise invalid(f"{name} must be a number.")
    return found


def whole(value: Any, name: str, least: int = 0) -> int:
    """A whole number of at least so much. Raises Denied."""
    found = number(value, name)
    if found < least or found != int(found):
        raise invalid(f"{name} must be a whole number, {least} or more.")
    return int(found)


def wholes(value: Any, name: str) -> list[int]:
    """A list of whole numbers. Raises Denied."""
    if not isinstance(value, list):
        raise invalid(f"{name} must be a list.")
    return [whole(each, name) for each in value]


def text(value: Any, name: str) -> str:
    """A text; an empty one for nothing. Raises Denied."""
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name} must be a text.")
    return value or ""


def page(request: Request, most: int, usual: int) -> tuple[int, int]:
    """How many rows are asked for, and after which one. Raises Denied."""
    limit = whole(request.query_params.get("limit") or usual, "limit", 1)
    after = request.query_params.get("after_token", "").strip('"')  # clients quote it or not
    return min(limit, most), whole(after or 0, "after_token")


def check_order(body: dict[str, Any]) -> None:
    """Raises Denied where an order breaks the market's rules."""
    price = body.get("price")
    environment = body.get("env") or {}
    if not text(body.get("image"), "image"):
        raise invalid("No image.")
    if not isinstance(environment, dict) or len(json.dumps(environment)) > 32 * 1024:
        raise invalid("env must be an object of at most 32 KB.")
    if len(text(body.get("label"), "label")) > 256 or number(body.get("disk") or 10, "disk") < 8:
        raise invalid("A label has at most 256 characters, a disk at least 8 GB.")
    if len(text(body.get("onstart"), "onstart")) + len(str(body.get("args") or "")) > 4096:
        raise invalid("args and onstart have at most 4096 characters.")
    if price is not None and not 0.001 <= number(price, "price") <= 128:
        raise Denied(400, "invalid_price", "A price is between 0.001 and 128.")


def invalid(message: str) -> Denied:
    """The market's answer to arguments that it does not understand."""
    return Denied(400, "invalid_args", message)


def _object(encoded: str | bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(encoded)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise invalid(f"{name} is no JSON object.")
    return found
