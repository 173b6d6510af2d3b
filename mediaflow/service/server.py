"""The server: HTTPS for an application, with limits on what a stranger may make it hold."""

from __future__ import annotations

import asyncio
import socket
import ssl
from threading import Thread
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from mediaflow.errors import UnreachableError
from mediaflow.service.certificate import Certificate

# Connections that may be open at once, in all and from one address; who comes then is turned away.
MOST_CONNECTIONS = 400
MOST_OF_ADDRESS = 64
# Seconds in which a handshake, and the head of a request, must be there; and those between two requests.
HANDSHAKE_SECONDS = 15.0
HEAD_SECONDS = 15.0
IDLE_SECONDS = 60
CLOSE_SECONDS = 10.0
# Seconds in which a client must take what it is sent next.
SLOW_SECONDS = 60.0
MOST_OF_HEAD = 16_384
START_SECONDS = 20.0


class Door(socket.socket):
    """A listening socket that lets in only so many at once. A connection counts from before its handshake."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__(family, socket.SOCK_STREAM)
        self._inside: list[tuple[socket.socket, str]] = []
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.bind((host, port))
        except OSError as error:
            self.close()
            raise UnreachableError(
                f"The gateway cannot listen on {host} port {port}: {error.strerror or error}. "
                "gateway.listen and gateway.port in configs/fleet.yaml say where."
            ) from None
        self.listen(128)
        self.setblocking(False)

    def accept(self) -> tuple[socket.socket, Any]:
        """As of any socket. Raises ConnectionAbortedError for one that is turned away."""
        connection, address = super().accept()
        self._inside = [(each, of) for each, of in self._inside if each.fileno() >= 0]
        of_address = sum(of == address[0] for _, of in self._inside)
        if len(self._inside) >= MOST_CONNECTIONS or of_address >= MOST_OF_ADDRESS:
            connection.close()
            raise ConnectionAbortedError
        self._inside.append((connection, address[0]))
        return connection, address


class Protocol(H11Protocol):
    """HTTP/1.1 of a client that must come to the point: the head of a request has a time limit."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._awaits_head():
            self._expect_head()
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _awaits_head(self) -> bool:
        # The types have it that there is always one.
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._cut)

    def _cut(self) -> None:
        self._deadline = None
        if self._awaits_head():
            self.transport.abort()


class Impatient:
    """An application whose answers end where the client does not take them."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        slow = False

        async def send_in_time(message: Message) -> None:
            nonlocal slow
            try:
                async with asyncio.timeout(SLOW_SECONDS):
                    await send(message)
            except TimeoutError:
                slow = True
                raise

        try:
            await self._application(scope, receive, send_in_time)
        except Exception:
            if not slow:  # uvicorn closes a connection whose answer was not finished
                raise


class Server(uvicorn.Server):
    """An application behind a door, in a thread of its own. Raises UnreachableError if it cannot listen."""

    def __init__(self, application: ASGIApp, host: str, port: int, certificate: Certificate) -> None:
        super().__init__(
            uvicorn.Config(
                Impatient(application),
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=3,
                h11_max_incomplete_event_size=MOST_OF_HEAD,
            )
        )
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls.load_cert_chain(certificate.certificate, certificate.key)
        self._door = Door(host, port)
        self.port: int = self._door.getsockname()[1]
        self._thread = Thread(target=self.run, name="server", daemon=True)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, with limits on the handshake and on the time that closing may take."""
        await self.lifespan.startup()
        listening = await asyncio.get_running_loop().create_server(
            lambda: Protocol(config=self.config, server_state=self.server_state, app_state={}),
            sock=self._door,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=CLOSE_SECONDS,
        )
        self.servers = [listening]
        self.started = True

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def serves(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End what is open, and wait for that."""
        self.should_exit = True
        self._thread.join(START_SECONDS)
