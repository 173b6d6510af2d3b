"""A small web server that serves, cuts, slows, redirects and refuses as a test asks for."""

from __future__ import annotations

import base64
import contextlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int | None = None  # bytes of a response after which the connection is closed
    bytes_a_second: int | None = None
    login: str = ""  # "user:password" that is asked for
    sent: int = 0
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path and Range
    authorizations: list[str | None] = field(default_factory=list)


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.requests.append((self.path, asked))
            state.authorizations.append(self.headers.get("Authorization"))
            expected = "Basic " + base64.b64encode(state.login.encode()).decode()
            if state.login and self.headers.get("Authorization") != expected:
                self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="test"'})
            elif self.path in state.redirects:
                self._answer(302, b"", {"Location": state.redirects[self.path]})
            elif self.path not in state.files:
                self._answer(404, b"")
            else:
                self._answer_file(state.files[self.path], asked)

        def _answer_file(self, body: bytes, asked: str | None) -> None:
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
            if not match or not state.ranges:
                kind = "text/html" if self.path.endswith("/") else "application/octet-stream"
                self._answer(200, body, {"Content-Type": kind})
                return
            first, last = int(match[1]), min(int(match[2] or len(body)), len(body) - 1)
            if first >= len(body):
                self._answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                return
            self._answer(206, body[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(body)}"})

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            end = len(body) if state.cut_after is None else min(len(body), state.cut_after)
            step = max(1, state.bytes_a_second // 20) if state.bytes_a_second else 1 << 16
            for start in range(0, end, step):
                chunk = body[start : min(start + step, end)]
                state.sent += len(chunk)  # before it is written: who has read it may count on it
                try:
                    self.wfile.write(chunk)
                except OSError:
                    self.close_connection = True
                    return
                if state.bytes_a_second:
                    time.sleep(0.05)
            if end < len(body):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
