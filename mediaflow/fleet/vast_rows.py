"""What Vast.ai's lists say, as offers, boxes and charges. A row that lacks something is a MarketError."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from mediaflow.fleet.market import Charge, Instance, InstanceState, MarketError, Offer
from mediaflow.fleet.settings import FleetSettings

DAY = 86400
HOURS_OF_A_MONTH = 730  # prices of disks are for a GB and a month
_STATES: dict[str | None, InstanceState] = {
    None: "loading",
    "created": "loading",
    "loading": "loading",
    "rebooting": "loading",
    "running": "running",
    "stopped": "exited",
    "frozen": "exited",
    "exited": "exited",
    "offline": "offline",
}
UNEXPECTED = (KeyError, TypeError, ValueError, AttributeError, IndexError)


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn a key, type or form that was not expected into a MarketError."""
    try:
        yield
    except UNEXPECTED as error:
        raise MarketError(f"Vast.ai's {what} is not as expected ({type(error).__name__}).") from None


def filters(fleet: FleetSettings) -> dict[str, Any]:
    """What offers must have, as a query."""
    wanted = fleet.offers
    query: dict[str, Any] = {
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "external": {"eq": False},
        "num_gpus": {"eq": 1},
        "gpu_ram": {"gte": wanted.gpu_ram_gb * 1000},
        "reliability": {"gte": wanted.reliability},
        "inet_down": {"gte": wanted.inet_down_mbps},
        "cuda_max_good": {"gte": wanted.cuda},
        "disk_space": {"gte": fleet.disk_gb},
        "dph_total": {"lte": fleet.caps.price_per_hour},
    }
    if wanted.verified:
        query["verified"] = {"eq": True}
    if wanted.datacenter:
        query["hosting_type"] = {"eq": 1}
    if wanted.regions:
        query["geolocation"] = {"in": list(wanted.regions)}
    if wanted.gpus:
        query["gpu_name"] = {"in": list(wanted.gpus)}
    return query


def offer(row: Mapping[str, Any], fleet: FleetSettings) -> Offer:
    """An offer of the list."""
    storage = float(row["storage_cost"]) * fleet.disk_gb / HOURS_OF_A_MONTH
    return Offer(
        id=int(row["id"]),
        machine=int(row["machine_id"]),
        host=int(row["host_id"]),
        gpu=str(row["gpu_name"]),
        gpu_ram_gb=round(float(row["gpu_ram"]) / 1024, 1),
        price=float(row["dph_total"]),
        bid=float(row["min_bid"] or 0) + storage,
        storage=storage,
        reliability=float(row.get("reliability2") or row["reliability"]),
        verified=row.get("verification") == "verified",
        datacenter=row.get("hosting_type") == 1,
        region=str(row.get("geolocation") or "").rpartition(",")[2].strip(),
        cuda=float(row["cuda_max_good"]),
        down_mbps=float(row["inet_down"]),
        up_mbps=float(row["inet_up"]),
        traffic_in=float(row.get("inet_down_cost") or 0),
        traffic_out=float(row.get("inet_up_cost") or 0),
        score=float(row.get("dlperf") or 0),
    )


def offers(found: Iterable[Mapping[str, Any]], fleet: FleetSettings) -> list[Offer]:
    """The offers of a list, without those that are odd or take no bids; an error where all are odd."""
    good: list[Offer] = []
    odd: Exception | None = None
    for row in found:
        try:
            if fleet.rent == "on-demand" or row["min_bid"] is not None:
                good.append(offer(row, fleet))
        except UNEXPECTED as error:
            odd = error
    if odd is not None and not good:
        raise odd
    return good


def instances(found: Iterable[Mapping[str, Any]], prefix: str) -> list[Instance]:
    """The boxes of a list. Others of this account may be odd, and are left out; one of ours may not."""
    good: list[Instance] = []
    for row in found:
        try:
            good.append(instance(row))
        except UNEXPECTED:
            if str(row["label"] or "").startswith(prefix):
                raise
    return good


def instance(row: Mapping[str, Any]) -> Instance:
    """A box of the list."""
    return Instance(
        contract=int(row["id"]),
        label=str(row["label"] or ""),
        machine=int(row["machine_id"]),
        host=int(row["host_id"]),
        gpu=str(row["gpu_name"]),
        state=_state(row),
        price=float(row["dph_total"]),
        started=float(row["start_date"]),
        said=str(row.get("status_msg") or "").strip()[:300],
    )


def charge(row: Mapping[str, Any]) -> Charge:
    """What one box cost on one day. The label may be missing."""
    kind, _, contract = str(row["source"]).partition("-")
    if kind != "instance":
        raise ValueError(kind)
    label = (row.get("metadata") or {}).get("label")
    return Charge(int(contract), str(label or ""), _time(row["start"]) // DAY * DAY, float(row["amount"]))


def _state(row: Mapping[str, Any]) -> InstanceState:
    """One word for Vast.ai's four states."""
    # Somebody bids more, or the credit is gone: the container may have any state.
    if {row["cur_state"], row["intended_status"], row["next_state"]} == {"stopped"}:
        return "stopped"
    # It goes on saying `loading` then.
    if "OCI runtime create failed" in str(row.get("status_msg") or ""):
        return "exited"
    return _STATES.get(row["actual_status"], "unknown")


def _time(value: Any) -> float:
    """Unix seconds of a number, or of a date in words."""
    if isinstance(value, int | float):
        return float(value)
    found = datetime.fromisoformat(str(value))
    return (found if found.tzinfo else datetime.fromisoformat(f"{value}+00:00")).timestamp()
