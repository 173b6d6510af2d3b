"""How many pages a TIFF file has, told without decoding any."""

from __future__ import annotations

from typing import BinaryIO, Literal

MOST_COUNTED = 10_000


def page_count(file: BinaryIO) -> int:
    """The length of the chain of image file directories (TIFF 6.0 section 2; BigTIFF), at most MOST_COUNTED.

    A chain that leads back into itself or out of the file ends there.
    """
    file.seek(0)
    head = file.read(16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    big = int.from_bytes(head[2:4], order) == 43
    counted, entry, offset = (8, 20, 8) if big else (2, 12, 4)
    at = int.from_bytes(head[8:16] if big else head[4:8], order)
    seen: set[int] = set()
    while at and at not in seen and len(seen) < MOST_COUNTED:
        file.seek(at)
        entries = file.read(counted)
        if len(entries) < counted:
            break
        seen.add(at)
        file.seek(at + counted + entry * int.from_bytes(entries, order))
        at = int.from_bytes(file.read(offset), order)
    return len(seen)
