"""The certificate of the gateway: made here, signed by itself, and the only one that boxes believe."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mediaflow.errors import StorageError
from mediaflow.settings import home

# The name for which it is made; a box asks for this one, whatever the gateway's address.
SERVER_NAME = "mediaflow-gateway"
YEARS = 10
# One that ends so soon is made anew.
REMAINING = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the certificate and its key are, as PEM; the key's file can be read by its owner only."""

    certificate: Path
    key: Path

    def pem(self) -> str:
        """The certificate, which may be shown to anybody."""
        return self.certificate.read_text(encoding="ascii")


def gateway_folder() -> Path:
    """Where the gateway keeps what is its own."""
    return home() / "gateway"


def gateway_certificate() -> Certificate:
    """The gateway's certificate, made when there is none, or one that is damaged or soon over.

    Raises StorageError where it cannot be written.
    """
    folder = gateway_folder()
    found = Certificate(folder / "certificate.pem", folder / "key.pem")
    if not _is_good(found):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _make(found)
        except OSError as error:
            raise StorageError(
                f"The gateway's certificate in {folder} cannot be written: {error.strerror or error}."
            ) from None
    return found


def write_private(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read, in the place of what was there, at once or not at all."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _is_good(found: Certificate) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(found.certificate.read_bytes())
        # Whether the two belong together is for OpenSSL to say.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(found.certificate, found.key)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):  # an SSLError is an OSError
        return False
    private = not found.key.stat().st_mode & 0o077
    lasts = certificate.not_valid_after_utc > datetime.now(UTC) + REMAINING
    return private and lasts and SERVER_NAME in names.get_values_for_type(x509.DNSName)


def _make(into: Certificate) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A box whose clock is a little behind believes it too.
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(into.key, pem)
    write_private(into.certificate, certificate.public_bytes(serialization.Encoding.PEM))
