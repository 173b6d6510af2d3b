"""A job's record in Redis, looked at before RQ reads it: fields, their form, and how large it may become."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping

from mediaflow.queues.refused import RefusedJob

# Bytes of a job's function and arguments, inflated: far above what 32 findings of long videos take.
LONGEST = 64 * 1024 * 1024
LONGEST_META = 1000

_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z)?")
_NUMBER = re.compile(rb"(-?\d{1,10})?")
_FLAG = re.compile(rb"[01]?")
_NOTHING = re.compile(rb"")
_ANYTHING = re.compile(rb"(?s).*")
# All that a job of mediaflow has in its record. Callbacks, webhooks, dependencies, repetitions, rate
# limits and groups are no part of it.
FIELDS: dict[bytes, re.Pattern[bytes]] = {
    b"data": _ANYTHING,
    b"meta": _ANYTHING,
    b"created_at": _TIME,
    b"enqueued_at": _TIME,
    b"started_at": _TIME,
    b"ended_at": _TIME,
    b"last_heartbeat": _TIME,
    b"origin": re.compile(rb"[!-~]{1,100}"),
    b"status": re.compile(rb"[a-z_]{1,20}"),
    b"worker_name": re.compile(rb"[!-~]{0,300}"),
    b"description": re.compile(rb"(?s).{0,10000}"),
    b"timeout": _NUMBER,
    b"ttl": _NUMBER,
    b"result_ttl": _NUMBER,
    b"failure_ttl": _NUMBER,
    b"number_of_retries": _NUMBER,
    b"retries_left": re.compile(rb"[0-3]?"),
    b"retry_intervals": re.compile(rb"(\[0\])?"),
    b"enqueue_at_front": _FLAG,
    b"enqueue_at_front_on_retry": _FLAG,
    b"success_callback_timeout": _NUMBER,
    b"failure_callback_timeout": _NUMBER,
    b"stopped_callback_timeout": _NUMBER,
}
# What RQ itself leaves there after a job; nobody here reads it.
UNREAD = (b"result", b"exc_info")


def checked(raw: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The record as RQ may read it, its data inflated. Raises RefusedJob with what is wrong with it."""
    record = {}
    for name, value in raw.items():
        if name in UNREAD:
            continue
        form = FIELDS.get(name, _NOTHING)
        if not form.fullmatch(value):
            known = "is not in its form" if name in FIELDS else "is none that a job here has"
            raise RefusedJob(f"the field {name[:60]!r} of its record {known}")
        record[name] = value
    for name in (b"data", b"origin", b"status", b"created_at"):
        if not record.get(name):
            raise RefusedJob(f"its record has no {name.decode()}")
    record[b"data"] = inflated(record[b"data"])
    if not record[b"data"].startswith(b"["):
        raise RefusedJob("its data is no JSON list")
    _check_meta(record.get(b"meta", b""))
    return record


def function_of(raw: Mapping[bytes, bytes]) -> str:
    """The function that a record names, as far as that can be read; else empty."""
    try:
        name = json.loads(inflated(raw[b"data"]))[0]
    except (RefusedJob, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return name[:200] if isinstance(name, str) else ""


def inflated(data: bytes) -> bytes:
    """What RQ has compressed, never more than LONGEST bytes of it. Raises RefusedJob."""
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(data, LONGEST)
    except zlib.error as error:
        raise RefusedJob(f"its data cannot be inflated ({error})") from None
    if inflater.unconsumed_tail:
        raise RefusedJob(f"its data is larger than {LONGEST:,} bytes when inflated")
    if not inflater.eof:
        raise RefusedJob("its data is cut short")
    return content


def _check_meta(meta: bytes) -> None:
    if len(meta) > LONGEST_META:
        raise RefusedJob("its meta is too large")
    try:
        counts = json.loads(meta or b"{}")
    except ValueError:
        raise RefusedJob("its meta is no JSON") from None
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        raise RefusedJob("its meta is no set of counts")
