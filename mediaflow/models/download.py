"""Downloads over HTTP: a span of bytes into a file, resumed where it was cut."""

from __future__ import annotations

import base64
import http.client
import math
import netrc
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Report = Callable[[float], None]  # told how much of a part is there, from 0 to 1

CONNECT_SECONDS = 5.0  # an unreachable host must not keep the next source waiting
READ_SECONDS = 30.0
RETRIES = 3
_CHUNK = 1 << 18
_FORGET_SECONDS = 60.0
_answers: dict[tuple[str, int], tuple[float, str]] = {}  # when a host was tried, and why in vain


class SourceError(Exception):
    """A source does not give what it should; the text is the reason, in short."""


class UnreachableSource(SourceError):
    """Nothing answers at the source's address: no other way of asking it can help."""


class NoRangesError(SourceError):
    """The server sends whole files only."""


@dataclass(frozen=True)
class Client:
    """How to speak to a server: `cafile` (PEM file or folder), `proxy` URL, `token` for bearers."""

    cafile: str = ""
    proxy: str = ""
    token: str = ""

    def open(self, url: str, headers: dict[str, str] | None = None) -> Any:
        """The response to a GET; raises SourceError, with the reason in short."""
        clean, login = _split_login(url)
        parts = urllib.parse.urlsplit(clean)
        if parts.scheme not in ("http", "https"):
            raise SourceError(f"{clean} is no web address")
        if not self._proxied(parts):
            _reach(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        request = urllib.request.Request(clean, headers={"User-Agent": "mediaflow", **(headers or {})})
        authorization = self._authorization(parts.hostname or "", login)
        if authorization:  # never follows a redirect to another host
            request.add_unredirected_header("Authorization", authorization)
        try:
            return self._opener().open(request, timeout=READ_SECONDS)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:
                raise NoRangesError("the file there is shorter than what was asked for") from None
            raise _StatusError(error.code, str(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(_reason(error)) from None

    def _opener(self) -> urllib.request.OpenerDirector:
        context = ssl.create_default_context()
        if self.cafile:
            folder = Path(self.cafile).is_dir()
            try:
                context.load_verify_locations(
                    cafile=None if folder else self.cafile, capath=self.cafile if folder else None
                )
            except OSError as error:
                raise SourceError(f"certificates {self.cafile}: {_reason(error)}") from None
        handlers: list[Any] = [urllib.request.HTTPSHandler(context=context)]
        if self.proxy:
            handlers.append(urllib.request.ProxyHandler({"http": self.proxy, "https": self.proxy}))
        return urllib.request.build_opener(*handlers)

    def _proxied(self, parts: urllib.parse.SplitResult) -> bool:
        if self.proxy:
            return True
        host = parts.hostname or ""
        return parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)

    def _authorization(self, host: str, login: tuple[str, str] | None) -> str:
        if self.token:
            return f"Bearer {self.token}"
        login = login or _netrc_login(host)
        if not login:
            return ""
        return "Basic " + base64.b64encode(":".join(login).encode()).decode()


class _StatusError(SourceError):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"HTTP {status} {reason}".strip())
        self.passing = status in (408, 425, 429) or status >= 500


def download(
    client: Client, url: str, target: Path, report: Report, start: int = 0, length: int | None = None
) -> None:
    """Write `length` bytes of `url` from `start` on into `target` (all of it when not told).

    A cut leaves `target`.partial, which the next call goes on with. Raises SourceError.
    """
    partial = target.with_name(target.name + ".partial")
    failures = 0
    while True:
        before = _size(partial)
        if length is not None and before > length:
            partial.unlink()
            continue
        if length is not None and before == length:
            break
        try:
            if _stream(client, url, partial, report, start, length):
                break
            reason = SourceError("the connection was cut")
        except NoRangesError:
            if before == 0:
                raise
            partial.unlink()
            continue
        except SourceError as error:
            if isinstance(error, UnreachableSource) or not getattr(error, "passing", before > 0):
                raise
            reason = error
        failures = 0 if _size(partial) > before else failures + 1
        if failures > RETRIES:
            raise reason
        time.sleep(2.0 ** (failures - 1) if failures else 0.1)
    partial.replace(target)
    report(1.0)


def _stream(client: Client, url: str, partial: Path, report: Report, start: int, length: int | None) -> bool:
    """Append what one response brings; True when it brought all that was promised."""
    have = _size(partial)
    first = start + have
    last = "" if length is None else str(start + length - 1)
    headers = {"Range": f"bytes={first}-{last}"} if first or length is not None else {}
    with client.open(url, headers) as response:
        if headers and response.status != 206:
            if start:
                raise NoRangesError("the server sends whole files only")
            have = 0
        promised = response.headers.get("Content-Length")
        total = length if length is not None else (have + int(promised) if promised else None)
        with partial.open("ab" if have else "wb") as stream:
            try:
                while chunk := response.read1(_CHUNK):
                    stream.write(chunk)
                    have += len(chunk)
                    if total:
                        report(min(1.0, have / total))
                    if length is not None and have > length:
                        raise SourceError(f"the file there is larger than {length} bytes")
            except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException):
                return False
    return total is None or have == total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reach(host: str, port: int) -> None:
    """Raise UnreachableSource when nothing accepts a connection in time.

    In a thread of its own, because looking up a name has no time limit, and a host may have many
    addresses; remembered for a while, so that a model's other files need not wait again.
    """
    tried, reason = _answers.get((host, port), (-math.inf, ""))
    if time.monotonic() - tried > _FORGET_SECONDS:
        outcome: list[str] = []

        def connect() -> None:
            try:
                socket.create_connection((host, port), CONNECT_SECONDS).close()
                outcome.append("")
            except (OSError, UnicodeError) as error:
                outcome.append(_reason(error))

        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        thread.join(CONNECT_SECONDS)
        reason = outcome[0] if outcome else f"no answer in {CONNECT_SECONDS:.0f} s"
        _answers[host, port] = (time.monotonic(), reason)
    if reason:
        raise UnreachableSource(f"{host} cannot be reached: {reason}")


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        error = inner
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _split_login(url: str) -> tuple[str, tuple[str, str] | None]:
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return url, None
    unquote = urllib.parse.unquote
    clean = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return clean, (unquote(parts.username), unquote(parts.password or ""))


def _netrc_login(host: str) -> tuple[str, str] | None:
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return (found[0], found[2] or "") if found else None
