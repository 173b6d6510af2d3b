"""The link to the gateway: TLS with one pinned certificate, the box's credential, and patience."""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import Any

import httpx2

from mediaflow.errors import MediaflowError, UnreachableError
from workers.box.birth import Birth
from workers.box.life import Life, Over

log = logging.getLogger("mediaflow.box")

# The name in the gateway's certificate, whatever its address is.
SERVER_NAME = "mediaflow-gateway"
# X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h): the certificate is pinned, and the box's clock may be wrong.
_NO_CHECK_TIME = 0x200000
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
TAKE_SECONDS = 20.0
BEAT_SECONDS = 8.0
FIRST_PAUSE, LONGEST_PAUSE = 0.3, 3.0
CONNECTIONS = 48  # the gateway lets in 64 of one address


class Cut(UnreachableError):
    """The gateway did not answer, or not now: another try may help."""


class AnswerLost(Cut):
    """The request may have been carried out; its answer did not come."""


class Refused(MediaflowError):
    """The gateway answered that it will not; the same request will not help."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the gateway refused it (HTTP {status})")
        self.status = status


class Link:
    """Requests to the gateway; any thread may use it. Errors hold no address, no token and no signature."""

    def __init__(self, birth: Birth, life: Life) -> None:
        self.life = life
        self._hello: dict[str, Any] = {}
        # Answers are handed over before or after a new hello, never while it is under way.
        self._order = RLock()
        self._in_doubt = False
        self._client = httpx2.Client(
            base_url=birth.gateway,
            verify=_context(birth.certificate),
            headers={"Authorization": f"Bearer {birth.token}", "User-Agent": "mediaflow-box"},
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            trust_env=False,
        )

    def close(self) -> None:
        """Let go of all connections."""
        self._client.close()

    def hello(self, hardware: Mapping[str, Any], checks: list[dict[str, Any]], well: bool) -> dict[str, Any]:
        """Say what the box is; its label, tasks, settings and models. Raises Over."""
        self._hello = {"hardware": dict(hardware), "checks": checks, "well": well}
        return self._patiently("/box/hello", self._hello)

    def take(self, task: str, most: int) -> list[dict[str, Any]]:
        """Up to `most` items of a task; waits for them, and may bring none. Raises Over.

        Where an answer is lost, the gateway takes items to be here that are not: a new hello makes it give
        out anew all that is in hand, also what is here already.
        """
        pause = FIRST_PAUSE
        while not self.life.over():
            self._clear_doubt()
            try:
                answer = self._post("/box/take", {"task": task, "most": most}, TAKE_SECONDS + BEAT_SECONDS)
            except Cut as error:
                self._in_doubt = self._in_doubt or isinstance(error, AnswerLost)
                pause = self._pause("/box/take", error, pause)
            else:
                return list(answer["items"])
        raise Over(self.life.reason)

    def _clear_doubt(self) -> None:
        with self._order:
            if self._in_doubt:
                self._patiently("/box/hello", self._hello)
                self._in_doubt = False

    def results(self, results: list[dict[str, Any]], delivered: Callable[[], Any]) -> None:
        """Hand over what was found. Raises Refused where the gateway will not have it, and Over."""
        with self._order:
            self._patiently("/box/results", {"results": results})
            delivered()

    def beat(self, said: Mapping[str, Any]) -> None:
        """Say that the box lives, and what it did; one try. Raises Cut and Refused."""
        self._post("/box/beat", dict(said), BEAT_SECONDS)

    @contextmanager
    def stream(self, path: str, begin: int = 0) -> Iterator[httpx2.Response]:
        """An answer that is read piece by piece, from a byte on if the gateway can; one try.

        Raises Cut and Refused.
        """
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        with (
            _translated(),
            self._client.stream("GET", path, headers=headers, extensions=_named()) as response,
        ):
            _check(response)
            yield response

    def _patiently(self, path: str, body: dict[str, Any], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Post until there is an answer, with pauses that grow and differ by chance."""
        pause = FIRST_PAUSE
        while not self.life.over():
            try:
                return self._post(path, body, seconds)
            except Cut as error:
                pause = self._pause(path, error, pause)
        raise Over(self.life.reason)

    def _pause(self, what: str, error: Cut, pause: float) -> float:
        """Wait a while that differs by chance; the next pause."""
        log.warning("%s: %s", what, error)
        self.life.wait(pause * random.uniform(0.5, 1.5))
        return min(pause * 2, LONGEST_PAUSE)

    def _post(self, path: str, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        timeout = httpx2.Timeout(seconds, connect=CONNECT_SECONDS)
        with _translated():
            response = self._client.post(path, json=body, timeout=timeout, extensions=_named())
            _check(response)
            try:
                answer: dict[str, Any] = response.json()
                self.life.heard(str(answer.get("order", "work")), float(answer["lease"]))
            except (ValueError, LookupError, TypeError):
                raise Cut("the gateway's answer cannot be understood") from None
        return answer


def _context(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return context


def _named() -> dict[str, Any]:
    return {"sni_hostname": SERVER_NAME}


def _check(response: httpx2.Response) -> None:
    """Raises Cut for what may soon be otherwise (a lease renewed late, a server in trouble), or Refused."""
    status = response.status_code
    if status >= 500:
        raise AnswerLost(f"HTTP {status}")  # it may have failed when half was done
    if status in (401, 408, 425, 429):
        raise Cut("the credential is not good (now)" if status == 401 else f"HTTP {status}")
    if status not in (200, 206):
        raise Refused(status)


@contextmanager
def _translated() -> Iterator[None]:
    """What goes wrong on the way is a Cut; the library's own words may hold an address."""
    try:
        yield
    except httpx2.TransportError as error:
        if isinstance(_root(error), ssl.SSLCertVerificationError):
            raise Cut("what answers there is not the gateway: its certificate is another") from None
        kind = Cut if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout) else AnswerLost
        raise kind(f"the link is cut ({type(error).__name__})") from None


def _root(error: BaseException) -> BaseException:
    """The first cause of an error."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error
