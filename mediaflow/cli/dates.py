"""Dates in options: a year, a month or a day, as the period that it names."""

from __future__ import annotations

from datetime import datetime, timedelta

from mediaflow.errors import UsageError
from mediaflow.names import readable

FORMS = ("%Y-%m-%d", "%Y-%m", "%Y")


def since(text: str | None) -> float | None:
    """The begin of the year, month or day, in Unix seconds."""
    return None if text is None else _seconds(_begin(text)[0], text)


def until(text: str | None) -> float | None:
    """The end of the year, month or day, in Unix seconds: the first instant that is not in it."""
    if text is None:
        return None
    begin, form = _begin(text)
    try:
        if form == "%Y-%m-%d":
            following = begin + timedelta(days=1)
        elif form == "%Y-%m" and begin.month < 12:
            following = begin.replace(month=begin.month + 1)
        else:
            following = begin.replace(year=begin.year + 1, month=1)
    except (ValueError, OverflowError):
        return None  # after the year 9999 comes nothing
    return _seconds(following, text)


def period(since_text: str | None, until_text: str | None) -> tuple[float | None, float | None]:
    """Both ends of a period; raises UsageError for one in which no time lies."""
    first, end = since(since_text), until(until_text)
    if first is not None and end is not None and first >= end:
        raise UsageError(f"--since {since_text} is after --until {until_text}: no file can be between.")
    return first, end


def _begin(text: str) -> tuple[datetime, str]:
    for form in FORMS:
        try:
            return datetime.strptime(text.strip(), form), form  # noqa: DTZ007 - local time
        except ValueError:
            continue
    raise UsageError(f"'{readable(text)}' is not a date. Write 2024, 2024-05 or 2024-05-31.")


def _seconds(date: datetime, text: str) -> float:
    try:
        return date.astimezone().timestamp()
    except (OverflowError, ValueError, OSError):
        raise UsageError(f"'{readable(text)}' is outside the dates that this machine knows.") from None
