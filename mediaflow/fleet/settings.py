"""Settings of the fleet: configs/fleet.yaml, overridden by MEDIAFLOW_FLEET__… variables."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from mediaflow.configuration import Section, read_settings
from mediaflow.settings import configs, user_configs

PREFIX = "MEDIAFLOW_FLEET__"
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
Dollars = Annotated[float, Field(gt=0)]


class OfferSettings(Section):
    gpu_ram_gb: float = Field(8, ge=0)
    reliability: float = Field(0.98, ge=0, le=1)
    verified: bool = True
    datacenter: bool = False
    inet_down_mbps: float = Field(200, ge=0)
    cuda: float = Field(12.4, ge=0)
    regions: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()


class CapSettings(Section):
    boxes: int = Field(3, ge=0, le=100)
    price_per_hour: Dollars = 0.8
    per_day: Dollars = 6
    per_month: Dollars = 60
    hours: float = Field(12, gt=0, le=24 * 30)


def _host(address: str) -> str:
    address = address.strip()
    if ":" in address:
        try:
            return str(IPv6Address(address))
        except AddressValueError:
            pass
    elif not address or _HOST_NAME.fullmatch(address):
        return address
    raise PydanticCustomError("host", "it is no host name and no IP address (https:// and port not included)")


class GatewaySettings(Section):
    listen: str = "0.0.0.0"
    port: int = Field(8443, ge=1, le=65535)
    address: Annotated[str, AfterValidator(_host)] = ""


class FallbackSettings(Section):
    work: Literal["go-on", "wait"] = "go-on"
    until: str = Field("06:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    priority: tuple[str, ...] = ()


class FleetSettings(Section):
    enabled: bool = False
    name: str = Field("home", pattern=r"^[a-z0-9]{1,20}$")
    libraries: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    deadline_hours: float = Field(8, gt=0)
    offers: OfferSettings = OfferSettings()
    rent: Literal["on-demand", "interruptible"] = "on-demand"
    bid: float = Field(1.2, ge=1, le=10)
    caps: CapSettings = CapSettings()
    idle_minutes: float = Field(3, ge=0)
    silence_minutes: float = Field(10, ge=2, le=120)
    stuck_minutes: float = Field(10, gt=0, le=120)
    image: str = "mediaflow-box:latest"
    disk_gb: float = Field(20, ge=8)
    gateway: GatewaySettings = GatewaySettings()
    fallback: FallbackSettings = FallbackSettings()
    check: float = Field(0.02, ge=0, le=1)

    def may_leave(self, library: str, task: str) -> bool:
        """Whether a task's work on the files of a library may go to boxes."""
        return self.enabled and task in self.libraries.get(library, ())

    def tasks(self) -> list[str]:
        """The tasks that boxes may have of any library, in the order of the file."""
        return list(dict.fromkeys(task for tasks in self.libraries.values() for task in tasks))


def unknown_tasks(fleet: FleetSettings, known: Collection[str]) -> list[str]:
    """What `libraries` names that is no task, as sentences: all of its work stays here."""
    return [
        f"libraries.{library} names {task!r}, and there is no such task"
        for library, tasks in fleet.libraries.items()
        for task in tasks
        if task not in known
    ]


@lru_cache(maxsize=1)
def load_fleet() -> FleetSettings:
    """Read and check the settings of the fleet; where there is no file, nothing is rented.

    Raises ConfigError with file and line (or the variable's name) for a wrong key or value.
    """
    path, own = configs() / "fleet.yaml", user_configs() / "fleet.yaml"
    if not path.exists():
        return FleetSettings()
    return read_settings((path, own), FleetSettings, PREFIX)
