"""Inspection: whether all is there that renting needs, and nothing is rented that nobody wants."""

from __future__ import annotations

import ssl
import time
from contextlib import closing

from mediaflow.errors import MediaflowError
from mediaflow.fleet import ledger
from mediaflow.fleet.birth import gateway_url
from mediaflow.fleet.key import api_key
from mediaflow.fleet.leaks import leaks
from mediaflow.fleet.market import Market
from mediaflow.fleet.run import LOCK, held
from mediaflow.fleet.settings import FleetSettings, unknown_tasks
from mediaflow.fleet.state import fleet_state
from mediaflow.fleet.vast import Vast
from mediaflow.ops.doctor.report import Examination, count
from mediaflow.ops.lock import holder
from mediaflow.service.certificate import gateway_certificate
from mediaflow.service.handshake import shake_hands
from mediaflow.settings import load_settings

CONNECT_SECONDS = 5
LITTLE_CREDIT = 2.0


def inspect(fleet: FleetSettings) -> Examination:
    """Look at everything, also at the market."""
    visit = Examination(dry_run=True)
    examine_here(visit, fleet)
    if any(finding.check == "key" and finding.state == "problem" for finding in visit.findings):
        visit.problem("market", "not asked: no key", "See `key`.")
        return visit
    with visit.part("market"):
        market = Vast(fleet, api_key())
        credit = market.credit()
        if credit < LITTLE_CREDIT:
            visit.problem("market", f"{credit:.2f} $ of credit are left", "Add credit at Vast.ai.")
        visit.ok("market", f"it answers; {credit:.2f} $ of credit")
        _boxes(visit, fleet, market)
    return visit


def examine_here(visit: Examination, fleet: FleetSettings) -> None:
    """Look at what is here: the settings, the key, the gateway, the controller, the ledger."""
    if not fleet.enabled:
        visit.ok("fleet", "not enabled: nothing is rented (configs/fleet.yaml)")
    with visit.part("libraries"):
        for unknown in unknown_tasks(fleet, load_settings().tasks):
            visit.problem("libraries", unknown, "Correct it in configs/fleet.yaml.")
    if fleet.image.partition("/")[0] in ("localhost", fleet.image):
        visit.problem(
            "image",
            f"{fleet.image!r} names no registry, so that no box can fetch it",
            "Build it, push it, and set `image` in configs/fleet.yaml (docs/fleet.md, The box).",
        )
    with visit.part("key"):
        api_key()
        visit.ok("key", "there is an API key that nobody else can read")
    with visit.part("gateway"):
        url = gateway_url(fleet)
        gateway_certificate()
        if holder(LOCK) is not None:
            _reach(visit, fleet, url)
        visit.ok("gateway", f"boxes are told to come to {url}; it is not running now")
    with visit.part("controller"), closing(ledger.open_ledger()) as db:
        state = fleet_state(db, fleet)
        pid, boxes = state["controller"], state["boxes"]
        if boxes and pid is None:
            what = f"{count(len(boxes), 'box', 'boxes')} of the ledger, and no controller runs"
            visit.problem("controller", what, "mediaflow fleet down, or mediaflow fleet run")
        if pid is not None and state["trouble"]:
            visit.problem("controller", state["trouble"], "mediaflow fleet status says what becomes of it.")
        if held(db):
            visit.problem(
                "controller", f"it rents nothing ({held(db)} was asked for)", "mediaflow fleet resume"
            )
        visit.ok(
            "controller", f"runs (pid {pid}); {count(len(boxes), 'box', 'boxes')}" if pid else "not running"
        )


def _reach(visit: Examination, fleet: FleetSettings, url: str) -> None:
    """Go to the gateway by the address that boxes are given; what answers must have its certificate."""
    try:
        shake_hands(fleet.gateway.address, fleet.gateway.port, CONNECT_SECONDS)
        visit.ok("gateway", f"{url} answers with this machine's certificate")
    except ssl.SSLError:
        visit.problem(
            "gateway", f"what answers at {url} is not this machine's gateway", "Set gateway.address and port."
        )
    except OSError as error:
        visit.problem(
            "gateway",
            f"{url} cannot be reached from here ({error.strerror or error})",
            "Is the port open, and led to this machine? Some routers do not lead a machine back to itself.",
        )


def _boxes(visit: Examination, fleet: FleetSettings, market: Market) -> None:
    """Boxes that cost money and that nobody wants."""
    with visit.part("boxes"), closing(ledger.open_ledger()) as db:
        try:
            found = leaks(market, db, fleet)
        except MediaflowError as error:
            visit.problem("boxes", f"what is rented cannot be seen: {error}", "mediaflow fleet doctor, later")
            return
        for leak in found:
            instance = leak.instance
            hours = max(0.0, time.time() - instance.started) / 3600
            visit.problem(
                "boxes",
                f"contract {instance.contract} ({instance.gpu}, {instance.state}) costs "
                f"{instance.price:.3f} $ an hour, {leak.cost:.3f} $ in {hours:.1f} h so far: {leak.why}",
                leak.step,
            )
        visit.ok("boxes", "none is rented that nobody wants")
