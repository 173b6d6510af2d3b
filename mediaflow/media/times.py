"""Modification times of files, as the catalog can hold them."""

from __future__ import annotations

# Nanoseconds that stand for all times before 1677 and after 2262: SQLite's integers hold no others.
OUT_OF_RANGE = (-(2**63), 2**63 - 1)


def time_warning(mtime_ns: int) -> str | None:
    """What to tell of a time in the catalog that only stands for the true one; None for others."""
    if mtime_ns not in OUT_OF_RANGE:
        return None
    side = "before 1677" if mtime_ns < 0 else "after 2262"
    return f"its modification time is out of range ({side}), so the date is wrong"
