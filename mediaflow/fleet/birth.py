"""What a box is born with: where the gateway is, which certificate to believe, its token, its limits."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from mediaflow.errors import ConfigError
from mediaflow.fleet.settings import FleetSettings
from mediaflow.service.certificate import gateway_certificate


def gateway_url(fleet: FleetSettings) -> str:
    """Where boxes reach this machine. Raises ConfigError where the settings do not say."""
    address = fleet.gateway.address.strip()
    if not address:
        raise ConfigError(
            "configs/fleet.yaml does not say where boxes reach this machine: set gateway.address to its "
            "public name or IP address, and open the port in its firewall."
        )
    return f"https://{f'[{address}]' if ':' in address else address}:{fleet.gateway.port}"


def births(fleet: FleetSettings) -> Callable[[str, str], Mapping[str, str]]:
    """Makes the variables of a box from its label and token.

    Raises ConfigError without an address, StorageError where the certificate cannot be made.
    """
    known = {
        "MEDIAFLOW_BOX_GATEWAY": gateway_url(fleet),
        "MEDIAFLOW_BOX_CERTIFICATE": base64.b64encode(gateway_certificate().pem().encode()).decode(),
        "MEDIAFLOW_BOX_HOURS": f"{fleet.caps.hours:g}",
        "MEDIAFLOW_BOX_SILENCE": f"{fleet.silence_minutes:g}",
    }
    return lambda _label, token: {**known, "MEDIAFLOW_BOX_TOKEN": token}
