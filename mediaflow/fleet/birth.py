"""Birth: the variables that a box is ordered with. They hold its own credential, and no other secret."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from mediaflow.errors import UsageError
from mediaflow.fleet.settings import FleetSettings
from mediaflow.service.certificate import gateway_certificate


def environment(settings: FleetSettings) -> Callable[[str, str], Mapping[str, str]]:
    """Makes a box's variables of its label and token. Raises UsageError without an address of the gateway."""
    gateway = settings.gateway
    if not gateway.address:
        raise UsageError(
            "configs/fleet.yaml: gateway.address is empty. Write the public name or IP address of this"
            f" machine, and open port {gateway.port} in its firewall."
        )
    address = f"[{gateway.address}]" if ":" in gateway.address else gateway.address
    certificate = base64.b64encode(gateway_certificate().pem().encode()).decode()

    def made(_label: str, token: str) -> Mapping[str, str]:
        return {
            "MEDIAFLOW_BOX_GATEWAY": f"https://{address}:{gateway.port}",
            "MEDIAFLOW_BOX_TOKEN": token,
            "MEDIAFLOW_BOX_CERTIFICATE": certificate,
            "MEDIAFLOW_BOX_HOURS": f"{settings.caps.hours:g}",
            "MEDIAFLOW_BOX_SILENCE": f"{settings.silence_minutes:g}",
        }

    return made
