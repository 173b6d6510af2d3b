"""A TCP proxy before a server, whose connections can be cut, stalled, delayed and refused."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

BLOCK = 1 << 16
TICK = 0.2


class Proxy:
    """Listens on a port of its own and hands everything on to another on this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._refuses = False
        self._ended = False
        self.delay = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Close every connection now; returns how many there were. New ones are let in."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _close(*pair)
        return len(pairs)

    def stall(self) -> None:
        """Hand nothing on from now, and close nothing: the other side cannot tell."""
        self._flows.clear()

    def flow(self) -> None:
        """Everything goes through again."""
        self.delay, self._refuses = 0.0, False
        self._flows.set()

    def refuse(self) -> None:
        """As if the machine were gone: what is open is cut, what comes is closed at once."""
        self._refuses = True
        self.cut()

    def close(self) -> None:
        """End it for good."""
        self._ended = True
        self._listener.close()
        self._flows.set()
        self.cut()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._pairs.add((client, server))
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with contextlib.suppress(OSError, ValueError):  # ValueError: it was closed while it was waited for
            while not self._ended:
                for end in select.select([client, server], [], [], TICK)[0]:
                    self._flows.wait()
                    if self.delay:
                        time.sleep(self.delay)
                    piece = end.recv(BLOCK)
                    if not piece:
                        raise OSError
                    other[end].sendall(piece)
        with self._lock:
            self._pairs.discard((client, server))
        _close(client, server)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
