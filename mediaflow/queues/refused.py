"""Refused jobs: what breaks the rules is taken out of the queues, counted, and kept to be looked at.

A refused job is never tried again. Its newest form is kept in a capped list, in characters that are
safe to print; in RQ's registry of failed jobs a harmless stand-in takes its place, so that
rq-dashboard shows it, and refuses it again when somebody presses "retry". The files it was about
are not lost by this: the ledger knows what is wanted, and enqueues it anew.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from rq.exceptions import NoSuchJobError
from rq.utils import now, utcformat

from mediaflow.settings import all_queues

COUNT = "mediaflow:refused:count"
LIST = "mediaflow:refused:list"
# How many are kept, how many bytes of each, and for how long (seconds) RQ's registry has them too.
MOST = 200
MOST_BYTES = 4096
KEEP_SECONDS = 24 * 3600
# RQ's alphabet. Whatever else stands in a list was not put there by mediaflow.
ID = re.compile(r"[A-Za-z0-9_-]{1,280}")
# What the stand-in names: no function is called so.
STAND_IN = "mediaflow.refused"


class RefusedJob(NoSuchJobError):
    """A job breaks the rules. For RQ there is no such job: it goes on with the next."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One refused job; all texts are printable. `when` is a Unix time, `data` the beginning of its record."""

    id: str
    queue: str
    function: str
    reason: str
    when: float
    data: str


def refuse(
    connection: Redis,
    id: bytes,
    reason: str,
    *,
    function: str = "",
    queue: str = "",
    record: Mapping[bytes, bytes] | None = None,
) -> None:
    """Take a job out of all queues, wherever it claims to be; count it and keep what it was.

    `queue` is the one it was found in, `record` what Redis has of it, as far as that is known.
    """
    found = _take_out(connection, id)
    claimed = (record or {}).get(b"origin", b"")
    known = queue or found or printable(claimed, 100)
    raw = b"" if record is None else b"\n".join(key + b": " + value for key, value in record.items())
    keep(
        connection,
        Refused(
            printable(id, 200),
            known,
            printable(function.encode(errors="replace"), 200),
            printable(reason.encode(errors="replace"), 1000),
            time.time(),
            printable(raw, MOST_BYTES),
        ),
    )
    if ID.fullmatch(id.decode("latin-1")) and known in all_queues():
        _stand_in(connection, id.decode(), known, reason, function)


def keep(connection: Redis, refused: Refused) -> None:
    """Count a refusal and keep it in the list of the newest."""
    try:
        _keep(connection, refused)
    except ResponseError as error:
        if not is_of_another_type(error):
            raise
        connection.delete(COUNT, LIST)
        _keep(connection, refused)


def _keep(connection: Redis, refused: Refused) -> None:
    with connection.pipeline() as pipeline:
        pipeline.incr(COUNT)
        pipeline.lpush(LIST, json.dumps(asdict(refused)))
        pipeline.ltrim(LIST, 0, MOST - 1)
        pipeline.execute()


def is_of_another_type(error: ResponseError) -> bool:
    """Whether a key holds something else than was asked for; else the server itself has a problem."""
    return "WRONGTYPE" in str(error) or "not an integer" in str(error)


def count(connection: Redis) -> int:
    """How many were refused since the queue was begun."""
    try:
        return int(connection.get(COUNT) or 0)
    except (ResponseError, ValueError):
        return 0


def newest(connection: Redis) -> list[Refused]:
    """The refused jobs that are kept, newest first."""
    found = []
    try:
        lines = connection.lrange(LIST, 0, MOST - 1)
    except ResponseError:
        return []
    for line in lines:
        try:
            entry = json.loads(line)
            texts = {key: printable(str(entry[key]).encode(errors="replace"), MOST_BYTES) for key in _TEXTS}
            found.append(Refused(when=float(entry["when"]), **texts))
        except (ValueError, LookupError, TypeError):
            continue  # not of our making
    return found


_TEXTS = ("id", "queue", "function", "reason", "data")


def printable(raw: bytes, most: int) -> str:
    """The first `most` bytes in printable ASCII, all else escaped as \\xNN."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in raw[:most])
    return text if len(raw) <= most else f"{text}… ({len(raw)} bytes)"


def _take_out(connection: Redis, id: bytes) -> str:
    """Remove the job's id wherever a worker would find it, and its record; the queue it was in."""
    names = all_queues()
    running = {name: _executions(connection, name, id) for name in names}
    with connection.pipeline() as pipeline:
        for name in names:
            pipeline.lrem(f"rq:queue:{name}", 0, id)  # type: ignore[arg-type]
            pipeline.lrem(f"rq:queue:{name}:intermediate", 0, id)  # type: ignore[arg-type]
            for registry in ("scheduled", "deferred", "ready", "finished", "canceled"):
                pipeline.zrem(f"rq:{registry}:{name}", id)
            pipeline.zrem(f"rq:wip:{name}", id, *running[name])
        for prefix in (b"rq:job:", b"rq:results:", b"rq:executions:"):
            pipeline.delete(prefix + id)
        pipeline.delete(b"rq:job:" + id + b":dependents")
        # A key of the wrong type answers with an error and holds no job.
        answers = pipeline.execute(raise_on_error=False)
    each = 8
    for index, name in enumerate(names):
        if any(answer for answer in answers[index * each : (index + 1) * each] if isinstance(answer, int)):
            return name
    return ""


def _executions(connection: Redis, queue: str, id: bytes) -> list[bytes]:
    try:
        members: list[Any] = connection.zrange(f"rq:wip:{queue}", 0, -1)
    except ResponseError:  # a key of another type
        return []
    return [member for member in members if member.startswith(id + b":")]


def stand_in(queue: str, reason: str, function: str) -> dict[str, bytes]:
    """The record of the harmless job that is shown in the place of a refused one."""
    named = f" ({printable(function.encode(errors='replace'), 100)})" if function else ""
    moment = utcformat(now()).encode()
    return {
        "data": zlib.compress(json.dumps([STAND_IN, None, [], {}]).encode()),
        "created_at": moment,
        "ended_at": moment,
        "origin": queue.encode(),
        "status": b"failed",
        "description": f"refused{named}: {printable(reason.encode(errors='replace'), 300)}".encode(),
    }


def _stand_in(connection: Redis, id: str, queue: str, reason: str, function: str) -> None:
    """Put it into RQ's registry of failed jobs."""
    with connection.pipeline() as pipeline:
        pipeline.hset(f"rq:job:{id}", mapping=stand_in(queue, reason, function))  # type: ignore[arg-type]
        pipeline.expire(f"rq:job:{id}", KEEP_SECONDS)
        pipeline.zadd(f"rq:failed:{queue}", {id: time.time() + KEEP_SECONDS})
        pipeline.execute(raise_on_error=False)
