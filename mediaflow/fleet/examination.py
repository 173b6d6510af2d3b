"""The fleet's doctor: what is rented and not wanted, what it costs, and whether boxes could come and join."""

from __future__ import annotations

import socket
import sqlite3
import ssl
from typing import Any

from mediaflow.errors import MediaflowError
from mediaflow.fleet import ledger
from mediaflow.fleet.key import wrong_mode
from mediaflow.fleet.report import ALIVE_SECONDS, leaks
from mediaflow.fleet.running import the_market
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.spending import spending
from mediaflow.service.certificate import SERVER_NAME, gateway_certificate

CONNECT_SECONDS = 5.0


def examine(db: sqlite3.Connection, settings: FleetSettings, now: float) -> dict[str, Any]:
    """All checks: `{"well", "checks": [{"check", "ok", "said"}], "leaks": […]}`; nothing is changed."""
    checks: list[dict[str, Any]] = []

    def say(check: str, ok: bool, said: str) -> None:
        checks.append({"check": check, "ok": ok, "said": said})

    say("enabled", True, "yes" if settings.enabled else "no: nothing is rented (configs/fleet.yaml)")
    wrong = wrong_mode()
    say("key", wrong is None, wrong or "there is one, and nobody else can read it")
    found: list[dict[str, Any]] = []
    if wrong is None:
        found = _market(db, settings, now, say)
    say(*_gateway(settings))
    beat = ledger.fact(db, "beat")
    alive = beat is not None and now - beat < ALIVE_SECONDS
    open_boxes = ledger.boxes(db)
    said = "runs" if alive else "does not run: mediaflow up, or mediaflow fleet run"
    say("controller", alive or not (settings.enabled or open_boxes), said)
    spent = spending(db, now)
    hourly = sum(box.price for box in open_boxes)
    what = f"{spent.day:.2f} $ today, {spent.month:.2f} $ this month, {hourly:.3f} $ an hour now"
    caps = settings.caps
    say("spend", spent.day <= caps.per_day and spent.month <= caps.per_month, what)
    return {"well": all(each["ok"] for each in checks), "checks": checks, "leaks": found}


def _market(db: sqlite3.Connection, settings: FleetSettings, now: float, say: Any) -> list[dict[str, Any]]:
    """Leaks, and the credit."""
    try:
        market = the_market(settings)
        instances = list(market.instances())
        credit = market.credit()
    except MediaflowError as error:
        say("market", False, str(error))
        return []
    say("market", True, f"answers; {credit:.2f} $ of credit, {len(instances)} instances in this account")
    found = leaks(db, instances, settings, now)
    for leak in found:
        say(
            "leak",
            False,
            f"contract {leak['contract']} ({leak['box']}, {leak['state']}) is wanted by nobody:"
            f" {leak['price']:.3f} $ an hour, {leak['cost']:.2f} $ so far. A controller ends it: mediaflow fleet down",
        )
    if not found:
        say("leak", True, "nothing is rented that is not wanted")
    return found


def _gateway(settings: FleetSettings) -> tuple[str, bool, str]:
    """Whether the gateway's address leads to our gateway, and shows our certificate."""
    gateway = settings.gateway
    if not gateway.address:
        return "gateway", not settings.enabled, "gateway.address is empty (configs/fleet.yaml)"
    where = f"{gateway.address} port {gateway.port}"
    try:
        context = ssl.create_default_context(cadata=gateway_certificate().pem())
        with (
            socket.create_connection((gateway.address, gateway.port), CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=SERVER_NAME),
        ):
            return "gateway", True, f"{where} answers with our certificate"
    except ssl.SSLError as error:
        return "gateway", False, f"{where} is not our gateway ({error.reason or error}): what listens there?"
    except (OSError, MediaflowError) as error:
        why = getattr(error, "strerror", None) or error
        return "gateway", False, f"{where} does not answer ({why}): is `mediaflow up` running, the port open?"
