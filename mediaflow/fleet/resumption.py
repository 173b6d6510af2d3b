"""Resumption: when this machine works itself on what may leave, where it is told to wait for boxes."""

from __future__ import annotations

from datetime import datetime, timedelta

from mediaflow.fleet.backlog import Backlog
from mediaflow.fleet.settings import FallbackSettings


def resumes(fallback: FallbackSettings, backlog: Backlog, now: float) -> float:
    """When this machine begins with what waits (Unix seconds); `now` or before: it does so already.

    With `work: wait` that is the time `until` (local time) which comes first after the oldest was submitted.
    """
    if fallback.work == "go-on" or not backlog.waiting:
        return now
    return next_time(fallback.until, min(each.since for each in backlog.waiting))


def next_time(clock: str, after: float) -> float:
    """The first moment after `after` at which clocks here show HH:MM."""
    hour, minute = (int(part) for part in clock.split(":"))
    day = datetime.fromtimestamp(after)  # noqa: DTZ006 - what clocks here show
    for days in (0, 1, 2):  # an hour may be skipped or come twice when clocks change
        moment = day.replace(hour=hour, minute=minute, second=0, microsecond=0) + timedelta(days=days)
        if moment.timestamp() > after:
            return moment.timestamp()
    return after
