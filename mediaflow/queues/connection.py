"""The connection to Redis or Valkey: an outside one by MEDIAFLOW_REDIS_URL, else the embedded one."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from mediaflow.access import denial
from mediaflow.errors import UnreachableError, UsageError
from mediaflow.settings import home

OLDEST = (6, 2)
ANSWER_SECONDS = 10.0


def outside_url() -> str | None:
    """The URL of an outside Redis or Valkey, where one is named."""
    return os.environ.get("MEDIAFLOW_REDIS_URL") or None


def embedded_file() -> Path:
    """Where a running embedded Valkey says how to reach it; readable by its owner only."""
    return home() / "run" / "valkey.json"


def redis_url() -> str | None:
    """The URL to use now; None when there is no outside one and the embedded one was never started."""
    named = outside_url()
    if named:
        return named
    try:
        return str(json.loads(embedded_file().read_text())["url"])
    except (FileNotFoundError, ValueError, LookupError):  # not there, or cut short by a power cut
        return None
    except PermissionError as error:
        raise UnreachableError(denial(error.filename)) from None


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    place = parts.netloc.rpartition("@")[2]
    user = parts.username or ""
    return urlunsplit(parts._replace(netloc=f"{user}:***@{place}"))


def explain(error: Exception) -> str:
    """Why the queue (or what else is needed) does not let work go on, in words."""
    text = " ".join(str(error).split()) or type(error).__name__
    for mark, meaning in _REFUSALS.items():
        if mark in text:
            return f"{meaning} ({text})"
    return text


NO_MEMORY = "the queue has no memory left: free some, or raise its maxmemory"
NO_FILE = "the queue cannot write its file: free some disk space"
NO_PRIMARY = "the queue is a read-only replica: name its primary in MEDIAFLOW_REDIS_URL"

# How Redis and Valkey begin their refusals (redis.conf: maxmemory, replica-read-only, appendfsync).
_REFUSALS = {
    "OOM": NO_MEMORY,
    "maxmemory": NO_MEMORY,
    "MISCONF": NO_FILE,
    "READONLY": NO_PRIMARY,
    "read only replica": NO_PRIMARY,
    "LOADING": "the queue is still reading its file",
}


def refuses_writes(error: Exception) -> bool:
    """Whether an error of the queue says that nothing can be written into it now."""
    return any(mark in str(error) for mark in _REFUSALS)


def open_connection(url: str, answer_seconds: float = ANSWER_SECONDS) -> Redis:
    """A client that rides out short interruptions; does not connect yet.

    A connection that was cut without a word is given up after `answer_seconds`. Raises UsageError for
    a URL that is none.
    """
    try:
        return Redis.from_url(
            url,
            socket_connect_timeout=5,
            socket_timeout=answer_seconds,
            socket_keepalive=True,
            health_check_interval=30,
            # Connecting is tried again within each try: these are nine.
            retry=Retry(ExponentialBackoff(cap=1, base=0.1), 2),
        )
    except ValueError as error:
        raise UsageError(f"MEDIAFLOW_REDIS_URL is not a Redis URL: {error}") from None


def connect(patience: float = 0, answer_seconds: float = ANSWER_SECONDS) -> Redis:
    """A client whose server has answered and is new enough; waits for it up to `patience` seconds.

    `answer_seconds` as in `open_connection`: one who lets the server wait for jobs needs more. Raises
    UnreachableError when it does not answer, saying what to start.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _connect(answer_seconds)
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _connect(answer_seconds: float) -> Redis:
    url = redis_url()
    if url is None:
        raise UnreachableError(NOT_RUNNING)
    client = open_connection(url, answer_seconds)
    try:
        version = str(client.info("server")["redis_version"])
    except AuthenticationError as error:
        raise UnreachableError(f"{without_password(url)} refuses the password: {error}.") from None
    except (RedisError, OSError) as error:
        if outside_url():
            raise UnreachableError(
                f"{without_password(url)} (MEDIAFLOW_REDIS_URL) does not answer: {error}. "
                "Start it, or unset the variable to use the embedded Valkey."
            ) from None
        raise UnreachableError(NOT_RUNNING) from None
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise UnreachableError(f"{without_password(url)} is Redis {version}; 6.2 or newer is needed.")
    return client


NOT_RUNNING = (
    "mediaflow is not running. Start it with `mediaflow up` (or `mediaflow up --detach`), "
    "or use `mediaflow submit --wait`, which starts what it needs."
)
