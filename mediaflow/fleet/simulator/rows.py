"""Offers, boxes and charges as Vast.ai's JSON has them, and its filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mediaflow.fleet.simulator.prices import Ask
from mediaflow.fleet.simulator.rented import DAY, Rented

KINDS = {"gpu": "GPU", "disk": "Storage", "bwd": "Download", "bwu": "Upload"}


def offer_row(ask: Ask, now: float, disk_gb: float, bid: bool) -> dict[str, Any]:
    """An offer; its price is the lowest bid where interruptible ones are asked for."""
    machine, model = ask.machine, ask.machine.model
    storage = ask.storage(disk_gb)
    base = ask.bid if bid else ask.gpu
    performance = round(6.5 * model.speed * machine.quality, 2)
    return _hardware(ask.machine) | {
        "id": ask.id,
        "ask_contract_id": ask.id,
        "dph_base": base,
        "dph_total": round(base + storage, 6),
        "min_bid": ask.bid,
        "is_bid": bid,
        "dlperf": performance,
        "dlperf_per_dphtotal": round(performance / (base + storage), 2),
        "total_flops": round(12.7 * model.speed, 1),
        "flops_per_dphtotal": round(12.7 * model.speed / (base + storage), 1),
        "score": round(performance / (base + storage) * machine.reliability**4, 2),
        "duration": ask.until - now,
        "end_date": ask.until,
        "rentable": True,
        "rented": False,
        "external": False,
        "search": {
            "gpuCostPerHour": base,
            "diskHour": storage,
            "totalHour": base + storage,
            "discountTotalHour": 0,
            "discountedTotalPerHour": base + storage,
        },
    }


def box_row(box: Rented, now: float, bid: float) -> dict[str, Any]:
    """A rented box. `bid` is the lowest bid for its machine now."""
    state = "running" if box.running else "stopped" if box.intended == "stopped" else "loading"
    ended = box.status in ("exited", "offline")
    return _hardware(box.machine) | {
        "id": box.contract,
        "label": box.label,
        "actual_status": box.status,
        "intended_status": box.intended,
        "cur_state": box.intended if state != "loading" else "unloaded" if box.status is None else "running",
        "next_state": box.intended,
        "status_msg": _said(box),
        "image_uuid": box.image,
        "image_runtype": "args",
        "image_args": [],
        "extra_env": [[name, value] for name, value in box.environment.items()],
        "onstart": None,
        "ssh_host": f"ssh{box.contract % 9}.vast.ai",
        "ssh_port": 10_000 + box.contract % 40_000,
        "ssh_idx": str(box.contract % 9),
        "public_ipaddr": "203.0.113.7",
        "ports": {},
        "local_ipaddrs": "172.17.0.2",
        "gpu_util": 0.0 if ended else None,
        "dph_base": box.gpu,
        "dph_total": round(box.price, 6),
        "is_bid": box.interruptible,
        "min_bid": bid,
        "disk_space": box.disk_gb,
        "disk_usage": None,
        "disk_util": None,
        "start_date": box.ordered,
        "end_date": box.ordered + 30 * DAY,
        "uptime_mins": None if box.running_since is None else (now - box.running_since) / 60,
        "template_id": None,
        "template_name": None,
        "volume_info": [],
    }


def charge_rows(boxes: Iterable[Rented], since: float, until: float) -> list[dict[str, Any]]:
    """What each box cost on each day that begins within these times."""
    rows = []
    for box in boxes:
        for day in sorted({day for day, _ in box.dollars if since // DAY * DAY <= day <= until}):
            amounts = {kind: dollars for (when, kind), dollars in box.dollars.items() if when == day}
            items = [
                {"type": kind, "description": KINDS[kind], "amount": round(dollars, 6)}
                for kind, dollars in amounts.items()
            ]
            rows.append(
                {
                    "start": day,
                    "end": day + DAY,
                    "type": "instance",
                    "source": f"instance-{box.contract}",
                    "description": f"Instance {box.contract} - 1x {box.machine.model.name}",
                    "amount": round(sum(amounts.values()), 6),
                    "metadata": {"label": box.label},
                    "items": items,
                }
            )
    return rows


def fits(row: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    """Whether a row passes filters `{field: {operator: value}}`; unknown fields pass."""
    return all(
        _holds(operator, _field(row, field), value)
        for field, wanted in filters.items()
        if isinstance(wanted, Mapping) and field in row
        for operator, value in wanted.items()
    )


def ordered(rows: list[dict[str, Any]], order: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Rows in an order `[[field, "asc" | "desc"], …]`."""
    for field, direction in reversed(order):
        rows.sort(key=lambda row: (row.get(field) is None, row.get(field) or 0), reverse=direction == "desc")
    return rows


def _hardware(machine: Any) -> dict[str, Any]:
    model = machine.model
    return {
        "machine_id": machine.id,
        "host_id": machine.host,
        "gpu_name": model.name,
        "num_gpus": 1,
        "gpu_frac": 1.0,
        "gpu_ram": model.ram_gb * 1024,
        "gpu_total_ram": model.ram_gb * 1024,
        "gpu_arch": "nvidia",
        "gpu_mem_bw": 300 * model.speed,
        "gpu_display_active": False,
        "cuda_max_good": machine.cuda,
        "compute_cap": model.compute,
        "cpu_arch": "amd64",
        "cpu_cores": 16,
        "cpu_cores_effective": 8.0,
        "cpu_ghz": 3.6,
        "cpu_ram": 32_000,
        "has_avx": 1,
        "disk_space": 500.0,
        "disk_bw": 2_000.0,
        "pcie_bw": 12.0,
        "pci_gen": 4.0,
        "inet_down": machine.down_mbps,
        "inet_up": machine.up_mbps,
        "inet_down_cost": machine.traffic_in,
        "inet_up_cost": machine.traffic_out,
        "storage_cost": machine.storage_month,
        "direct_port_count": 20,
        "driver_version": "560.35.03",
        "reliability": machine.reliability,
        "reliability2": machine.reliability,
        "verification": "verified" if machine.verified else "unverified",
        "verified": machine.verified,
        "hosting_type": 1 if machine.datacenter else 0,
        "datacenter": machine.datacenter,
        "static_ip": machine.datacenter,
        "geolocation": machine.region,
        "vms_enabled": False,
        "cluster_id": None,
        "mobo_name": "B550",
        "ubuntu_version": "22.04",
    }


def _said(box: Rented) -> str:
    if box.intended == "stopped":
        return "stopped"
    if box.status == "running":
        return f"success, running {box.image}"
    if box.status == "exited":
        return "container exited"
    return "" if box.status is None else str(box.status)


def _field(row: Mapping[str, Any], field: str) -> Any:
    """A row's value; of a place its country's code, by which it is asked for."""
    value = row.get(field)
    return value.rpartition(", ")[2] if field == "geolocation" and isinstance(value, str) else value


def _holds(operator: str, value: Any, wanted: Any) -> bool:
    if operator in ("in", "notin"):
        return (str(value) in [str(each) for each in wanted]) == (operator == "in")
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            wanted = float(wanted)
        except (TypeError, ValueError):
            return operator == "neq"
    elif isinstance(value, bool) and isinstance(wanted, str):
        wanted = wanted.lower() in ("true", "1")
    if operator in ("eq", "neq"):
        return bool(value == wanted) == (operator == "eq")
    if value is None or wanted is None:
        return False
    return bool(
        {"gt": value > wanted, "gte": value >= wanted, "lt": value < wanted, "lte": value <= wanted}[operator]
    )
