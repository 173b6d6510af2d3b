"""Items: how many of each task come of a file that was not opened yet: as seen of late, else guessed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from mediaflow.media.kinds import SUFFIXES
from mediaflow.media.rendition import Kind

# Guesses, for kinds of which too little was seen: these tasks listen, the others look.
LISTENING = frozenset({"transcribe"})
HEARD: frozenset[Kind] = frozenset({"audio", "video"})
SEEN: frozenset[Kind] = frozenset({"image", "video"})
# A guess weighs as much as so many assets; so many of the newest are looked at.
GUESS_WEIGHT = 20
NEWEST = 2000


@dataclass(frozen=True, slots=True)
class ItemsPerFile:
    """What came of the newest assets: (items, assets) by kind and task."""

    seen: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def expect(self, kind: str, task: str) -> float:
        """Items of a task that a file of a kind is expected to make; one of unknown kind may make any."""
        if not kind:
            return 1.0
        items, assets = self.seen.get((kind, task), (0, 0))
        return (items + GUESS_WEIGHT * _guess(kind, task)) / (assets + GUESS_WEIGHT)


def items_per_file(catalog: sqlite3.Connection) -> ItemsPerFile:
    """What the catalog has seen of late."""
    rows = catalog.execute(
        "SELECT a.kind, w.task, SUM(w.state != 'skipped'), COUNT(DISTINCT a.id)"
        " FROM (SELECT id, kind FROM assets ORDER BY id DESC LIMIT ?) a JOIN work w ON w.asset = a.id"
        " GROUP BY a.kind, w.task",
        (NEWEST,),
    )
    return ItemsPerFile({(kind, task): (items, assets) for kind, task, items, assets in rows})


def kind_of_name(name: bytes) -> str:
    """The kind that a file's suffix promises; empty where it promises none."""
    return SUFFIXES.get(os.fsdecode(name).rpartition(".")[2].lower(), "")


def _guess(kind: str, task: str) -> int:
    return int(kind in (HEARD if task in LISTENING else SEEN))
