"""Labels: by which the market's list says whose a box is."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from mediaflow.errors import StorageError
from mediaflow.fleet import ledger
from mediaflow.fleet.settings import FleetSettings
from mediaflow.service.certificate import gateway_folder, write_private

RANDOM, SIGNED = 8, 6  # characters of a label's end


@dataclass(frozen=True, slots=True)
class Labels:
    """Makes labels of an installation, and knows its own by their ends, also where the ledger is lost."""

    prefix: str
    _secret: bytes = b""

    def make(self, token: str) -> str:
        """The label of the box with this token."""
        random = hashlib.sha256(token.encode() + b"label").hexdigest()[:RANDOM]
        return f"{self.prefix}{random}{self._sign(random)}"

    def is_named(self, label: str) -> bool:
        """Whether a box has the name of this installation; another one may have it too."""
        return label.startswith(self.prefix)

    def is_own(self, label: str, db: sqlite3.Connection) -> bool:
        """Whether a box was ordered by this installation: its ledger knows it, or it is signed."""
        if not self.is_named(label):
            return False
        end = label.removeprefix(self.prefix)
        signed = hmac.compare_digest(end[RANDOM:].encode(), self._sign(end[:RANDOM]).encode())
        return signed or ledger.box(db, label) is not None

    def _sign(self, random: str) -> str:
        return hmac.new(self._secret, random.encode(), "sha256").hexdigest()[:SIGNED]


def label_prefix(settings: FleetSettings) -> str:
    """With what the labels of this installation's boxes begin."""
    return f"mediaflow-{settings.name}-"


def labels_here(settings: FleetSettings, *, new: bool = False) -> Labels:
    """The labels of this home; with `new` its secret is made when there is none.

    Raises StorageError where it cannot be read, or made.
    """
    path = gateway_folder() / "labels.key"
    try:
        if new and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(path)
        secret = path.read_bytes()
    except FileNotFoundError:
        secret = secrets.token_bytes(32)  # of a home that has not ordered yet: no label is signed
    except OSError as error:
        raise StorageError(
            f"The secret of this home's boxes in {path} cannot be read or written: {error.strerror or error}."
        ) from None
    return Labels(label_prefix(settings), secret)


def _make(path: Path) -> None:
    """Whoever comes first has made it."""
    made = path.with_name(f"{path.name}.new-{os.getpid()}")
    write_private(made, secrets.token_bytes(32))
    try:
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        made.unlink()
