"""A place that boxes can ask to destroy them: HTTP on this machine, which remembers who asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(slots=True)
class MarketServer:
    """`answers` are the statuses of the next requests, then 200; `asked` the requests: method, path, key."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What Vast.ai would put into the container."""
        return {"VAST_URL": self.url, "CONTAINER_ID": "4711", "CONTAINER_API_KEY": "the-box's-own-key"}

    def destroyed(self) -> bool:
        """Whether the machine was destroyed: asked for with its own key, and granted."""
        mine = ("DELETE", "/api/v0/instances/4711/", "Bearer the-box's-own-key")
        return not self.answers and mine in self.asked


@contextmanager
def market_server() -> Iterator[MarketServer]:
    """Such a place, until the end of the block."""
    market = MarketServer()

    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = market.answers.pop(0) if market.answers else 200
            market.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
            body = b'{"success": true}' if status == 200 else b'{"success": false, "error": "too_busy"}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        market.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield market
        finally:
            server.shutdown()
            thread.join()
