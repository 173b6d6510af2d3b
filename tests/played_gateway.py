"""A gateway that a test plays: TLS with the certificate that its box believes, and the answers it likes."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from workers.box.birth import Birth
from workers.box.life import Life
from workers.box.link import Link

WELL = json.dumps({"items": [], "order": "work", "lease": 600}).encode()


@dataclass(slots=True)
class Reply:
    """An answer; `cut` ends the connection after so many bytes of it."""

    status: int = 200
    body: bytes = WELL
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass(slots=True)
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]


class PlayedGateway:
    """What was asked, and the link of a box to it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.asked: list[Asked] = []

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [asked.path for asked in self.asked]


@contextmanager
def played_gateway(folder: Path, answer: Callable[[Asked], Reply]) -> Iterator[PlayedGateway]:
    """A gateway that answers so, while it is needed."""
    certificate, key = make_certificate(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.do_GET()

        def do_GET(self) -> None:
            asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()})
            played.asked.append(asked)
            reply = answer(asked)
            self.send_response(reply.status)
            for name, value in (reply.headers | {"content-length": str(len(reply.body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut])
            self.close_connection = reply.cut is not None

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    born = Birth(
        gateway=f"https://127.0.0.1:{server.server_address[1]}", token="a-token",
        certificate=certificate.read_text(), hours=1, silence_minutes=1, gpu="", heartbeat=None, container="",
        container_key="", market="",
    )  # fmt: skip
    played = PlayedGateway(Link(born, Life(1, 1)))
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield played
    finally:
        played.link.close()
        server.shutdown()
        server.server_close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that says the right name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mediaflow-gateway")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=100))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mediaflow-gateway")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "played.pem", folder / "played.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private
