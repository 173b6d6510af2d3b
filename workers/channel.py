"""Messages between a worker and its child: JSON with its length before it, over a socket pair."""

from __future__ import annotations

import json
import select
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")
LONGEST = 256 * 1024 * 1024


class ChannelClosed(Exception):
    """The other side is gone."""


class Channel:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; raises ChannelClosed when the other side is gone."""
        body = json.dumps(message).encode()
        try:
            self._end.sendall(_LENGTH.pack(len(body)) + body)
        except OSError as error:
            raise ChannelClosed from error

    def receive(self, seconds: float | None = None) -> dict[str, Any] | None:
        """The next message; None when none begins within `seconds`. Raises ChannelClosed."""
        if seconds is not None and not select.select([self._end], [], [], seconds)[0]:
            return None
        length = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        if length > LONGEST:
            raise ChannelClosed
        message: dict[str, Any] = json.loads(self._exactly(length))
        return message

    def close(self) -> None:
        self._end.close()

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._end.recv(size - len(parts))
            except OSError as error:
                raise ChannelClosed from error
            if not part:
                raise ChannelClosed
            parts += part
        return bytes(parts)
