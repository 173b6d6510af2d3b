"""The simulated market as a server: `mediaflow fleet simulate --serve`."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import uvicorn
from starlette.applications import Starlette

from mediaflow.errors import UsageError
from mediaflow.fleet.simulator.account import Account
from mediaflow.fleet.simulator.faults import Faults
from mediaflow.fleet.simulator.http import Face
from mediaflow.fleet.simulator.prices import Prices
from mediaflow.fleet.simulator.processes import BOX, Processes

KEY = "simulated"


def serve(
    port: int,
    seed: int,
    *,
    usual: bool = False,
    forced: Mapping[str, int] | None = None,
    haste: float = 60.0,
    credit: float = 100.0,
    key: str = KEY,
    command: Sequence[str] = BOX,
    ready: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve until Ctrl-C or SIGTERM; port 0 is any free one. `ready` is told the URL.

    Boxes load `haste` times as fast as real ones, and calls may be so much closer. Raises UsageError where
    the port is taken.
    """
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"Port {port} cannot be had ({error.strerror}): choose another with --port."
            ) from None
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        faults = Faults(seed, usual=usual, forced=forced)
        market = Account(Prices(seed, time.time()), faults, credit=credit, haste=haste)
        processes = Processes(market, Path(tempfile.mkdtemp(prefix="mediaflow-boxes-")), url, command)

        @asynccontextmanager
        async def playing(_app: Starlette) -> AsyncIterator[None]:
            async with anyio.create_task_group() as group:
                group.start_soon(processes.drive)
                yield
                group.cancel_scope.cancel()

        app = Face(market, processes, url, key, haste).app(playing)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        listening.listen(128)
        ready(url)
        try:
            server.run(sockets=[listening])
        finally:
            processes.end()
