"""What RQ could not read, taken out of its lists before RQ reads them.

Ids that are no text, keys of another type than RQ expects, records of workers that are none: RQ
raises on each of them, in every worker, at every look.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from rq.utils import utcparse

from mediaflow.queues.connection import refuses_writes
from mediaflow.queues.refused import Refused, is_of_another_type, keep, printable, refuse

_MEMBER = re.compile(rb"[A-Za-z0-9_-]{1,280}(:[A-Za-z0-9_-]{1,280})?")
_QUEUE = re.compile(rb"rq:queue:[!-~]{1,300}")
_WORKER = re.compile(rb"rq:worker:[!-~]{1,300}")


def sweep(connection: Redis, names: Iterable[str]) -> None:
    """Clear the lists of these queues, and the list of workers, of what RQ cannot read.

    A queue that lets nothing be written stays as it is.
    """
    try:
        _sweep(connection, list(names))
    except ResponseError as error:
        if not refuses_writes(error):
            raise


def _sweep(connection: Redis, names: list[str]) -> None:
    types = {b"rq:queues": b"set", b"rq:workers": b"set"}
    for name in names:
        for pattern, type in _TYPES.items():
            types[pattern.format(name).encode()] = type
    _sweep_types(connection, types)
    # No job waits for another here, nor for its turn.
    connection.delete("rq:rl-keys", *(f"rq:{unused}:{name}" for unused in _UNUSED for name in names))
    queues: set[Any] = connection.smembers("rq:queues")
    for key in queues:
        if not _QUEUE.fullmatch(key):
            connection.srem("rq:queues", key)
            _discard(connection, b"", key, "it cannot be the name of a queue")
    for name in names:
        taken: list[Any] = connection.lrange(f"rq:queue:{name}:intermediate", 0, -1)
        for id in taken:
            if not _MEMBER.fullmatch(id) or b":" in id:
                refuse(connection, id, "its id has characters that no id has here", queue=name)
        running: list[Any] = connection.zrange(f"rq:wip:{name}", 0, -1)
        for member in running:
            if not _MEMBER.fullmatch(member):
                refuse(connection, member, "its id has characters that no id has here", queue=name)
    _sweep_workers(connection, [b"rq:workers", *(f"rq:workers:{name}".encode() for name in names)])


_TYPES = {
    "rq:queue:{}": b"list",
    "rq:queue:{}:intermediate": b"list",
    "rq:wip:{}": b"zset",
    "rq:failed:{}": b"zset",
    "rq:finished:{}": b"zset",
    "rq:scheduled:{}": b"zset",
    "rq:canceled:{}": b"zset",
    "rq:workers:{}": b"set",
}
_UNUSED = ("deferred", "ready")


def _sweep_types(connection: Redis, types: dict[bytes, bytes]) -> None:
    with connection.pipeline(transaction=False) as pipeline:
        for key in types:
            pipeline.type(key)
        found = pipeline.execute()
    for (key, wanted), is_ in zip(types.items(), found, strict=True):
        if is_ not in (wanted, b"none"):
            reason = f"a {is_.decode()} stood where RQ has a {wanted.decode()}"
            _discard(connection, key, key, reason)


def _sweep_workers(connection: Redis, lists: Iterable[bytes]) -> None:
    lists = list(lists)
    members: set[Any] = set().union(*(connection.smembers(each) for each in lists))
    for key in members:
        if wrong := _wrong_with_worker(connection, key):
            for each in lists:
                connection.srem(each, key)
            _discard(connection, key if _WORKER.fullmatch(key) else b"", key, wrong)


def _wrong_with_worker(connection: Redis, key: bytes) -> str:
    """What RQ could not read of a worker; empty when it can."""
    if not _WORKER.fullmatch(key):
        return "it cannot be the name of a worker"
    try:
        raw: dict[Any, Any] = connection.hgetall(key)
        record = {name.decode(): value.decode() for name, value in raw.items()}
        for field in ("pid", "failed_job_count", "successful_job_count"):
            int(record.get(field) or 0)
        float(record.get("total_working_time") or 0)
        for field in ("last_heartbeat", "birth"):
            if record.get(field):
                utcparse(record[field])
    except (ResponseError, ValueError) as error:
        if isinstance(error, ResponseError) and not is_of_another_type(error):
            raise
        return f"the record of a worker cannot be read ({error})"
    return ""


def _discard(connection: Redis, key: bytes, name: bytes, reason: str) -> None:
    """Delete a key that is in RQ's way, and keep what it was."""
    raw: Any = connection.dump(key) or b""
    connection.delete(key)
    keep(connection, Refused(printable(name, 200), "", "", reason, time.time(), printable(raw, 4096)))
