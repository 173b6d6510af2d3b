"""What a box is born with: the variables that the controller, Vast.ai and the start script set."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path

from mediaflow.errors import ConfigError

PREFIX = "MEDIAFLOW_BOX_"
VAST = "https://console.vast.ai"


@dataclass(frozen=True, slots=True)
class Birth:
    """Where the gateway is, how it is known, and how long the box may live.

    `certificate` is the PEM of the only one that is believed. `gpu` names the GPU that was rented, empty
    where none was promised. `heartbeat` is a file that is touched at each word of the gateway.
    """

    gateway: str
    token: str = field(repr=False)
    certificate: str = field(repr=False)
    hours: float
    silence_minutes: float
    gpu: str
    heartbeat: Path | None
    container: str
    container_key: str = field(repr=False)
    market: str


def read_birth() -> Birth:
    """Read the variables and take them out of the environment: no child of this process needs a secret.

    Raises ConfigError naming the variable that is missing or wrong.
    """
    given = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(PREFIX)}
    gateway = _needed(given, "GATEWAY")
    if not gateway.startswith("https://"):
        raise ConfigError(f"variable {PREFIX}GATEWAY: {gateway!r} must be https://HOST:PORT.")
    try:
        certificate = base64.b64decode(_needed(given, "CERTIFICATE"), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise ConfigError(f"variable {PREFIX}CERTIFICATE must be the base64 of a PEM file.") from None
    heartbeat = given.get(PREFIX + "HEARTBEAT")
    return Birth(
        gateway=gateway.rstrip("/"),
        token=_needed(given, "TOKEN"),
        certificate=certificate,
        hours=_number(given, "HOURS"),
        silence_minutes=_number(given, "SILENCE"),
        gpu=given.get(PREFIX + "GPU", ""),
        heartbeat=Path(heartbeat) if heartbeat else None,
        container=os.environ.get("CONTAINER_ID", ""),
        container_key=os.environ.pop("CONTAINER_API_KEY", ""),
        market=os.environ.get("VAST_URL", VAST).rstrip("/"),
    )


def _needed(given: dict[str, str], name: str) -> str:
    value = given.get(PREFIX + name, "")
    if not value:
        raise ConfigError(f"variable {PREFIX}{name} is missing: it is set by who orders a box.")
    return value


def _number(given: dict[str, str], name: str) -> float:
    text = _needed(given, name)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100_000:
        raise ConfigError(f"variable {PREFIX}{name}: {text!r} must be a number over 0.")
    return value
