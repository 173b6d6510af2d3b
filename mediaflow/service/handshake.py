"""A handshake with the gateway: whether what answers there has this machine's certificate."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing

from mediaflow.errors import MediaflowError
from mediaflow.service.certificate import SERVER_NAME, gateway_certificate

# By what an address that stands for all of this machine's can be reached from here.
_HERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def shake_hands(host: str, port: int, seconds: float) -> None:
    """Connect, and believe this machine's certificate only. Raises OSError; SSLError where it is another."""
    context = ssl.create_default_context(cadata=gateway_certificate().pem())
    with (
        closing(socket.create_connection((host, port), seconds)) as plain,
        context.wrap_socket(plain, server_hostname=SERVER_NAME),
    ):
        pass


def runs_here(listen: str, port: int, seconds: float = 2.0) -> bool:
    """Whether the gateway runs on this machine, where it listens."""
    try:
        shake_hands(_HERE.get(listen, listen), port, seconds)
    except (OSError, MediaflowError):
        return False
    return True
