"""The filters of a search: one predicate on assets, which every query of the search applies itself.

A filter applied to the results of a query would leave out most of a small library beside a large one.
The library is the unit of access control, so no query runs without it.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mediaflow.search.request import Request

if TYPE_CHECKING:
    import numpy as np

KINDS = ("image", "video", "audio")
# Up to this many passing assets, a condition lists their ids, which is faster than a lookup in the table.
MAX_NAMED = 2_000


@dataclass(frozen=True, slots=True)
class Condition:
    """An SQL condition on a column `asset` of the enclosing statement, and its parameters."""

    sql: str
    parameters: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """An asset that passed, at the first of its locations by path."""

    hash: str
    kind: str
    path: str


class Filter:
    """The filters of one request on one catalog, for use in its queries."""

    def __init__(self, db: sqlite3.Connection, request: Request) -> None:
        self._db = db
        self._request = request
        kinds = [request.kind] if request.kind else KINDS
        # The index columns before `moment` are all constrained, so that SQLite uses the index for the range.
        wheres = [
            "s.library = ?",
            f"s.kind IN ({','.join('?' * len(kinds))})",
            f"s.safe IN ({'1' if request.safe else '0, 1'})",
        ]
        parameters: list[object] = [request.library, *kinds]
        for limit, comparison in ((request.since, ">="), (request.until, "<")):
            if limit is not None:
                wheres.append(f"s.moment {comparison} ?")
                parameters.append(limit)
        self._where = " AND ".join(wheres)
        self._parameters = tuple(parameters)

    @cached_property
    def condition(self) -> Condition:
        """The filters as a condition on a column `asset`."""
        few = self.few(MAX_NAMED)
        if few is not None:
            return Condition("asset IN (SELECT value FROM json_each(?))", (str(few.tolist()),))
        rows = "SELECT 1 FROM searchable s INDEXED BY searchable_asset WHERE s.asset_id = asset"
        return Condition(f"EXISTS ({rows} AND {self._where})", self._parameters)

    @cached_property
    def name_condition(self) -> Condition:
        """The same for a statement on `locations`, without other libraries and without gone files."""
        sql = f"library = ? AND gone IS NULL AND {self.condition.sql}"
        return Condition(sql, (self._request.library, *self.condition.parameters))

    def few(self, most: int) -> np.ndarray | None:
        """The ids (n,) int64 of the assets that pass, in order; None where there are more than `most`."""
        counted = f"SELECT COUNT(*) FROM (SELECT 1 {self._from} LIMIT ?)"
        if self._db.execute(counted, (*self._parameters, most + 1)).fetchone()[0] > most:
            return None
        return self.all

    @cached_property
    def all(self) -> np.ndarray:
        """The ids (n,) int64 of all assets that pass, in order."""
        import numpy as np

        # As one text: one row for each would take five times as long.
        said = self._db.execute(f"SELECT group_concat(s.asset_id) {self._from}", self._parameters)
        ids = np.fromstring(said.fetchone()[0] or "", dtype=np.int64, sep=",")
        return np.unique(ids)

    @property
    def _from(self) -> str:
        return f"FROM searchable s INDEXED BY searchable_filter WHERE {self._where}"

    def place(self, asset: int) -> Place | None:
        """The asset at its first location that passes, by path; None where it was forgotten meanwhile."""
        row = self._db.execute(
            "SELECT a.hash, a.kind, l.folder, l.name FROM searchable s INDEXED BY searchable_asset"
            " JOIN locations l ON l.id = s.location JOIN assets a ON a.id = s.asset_id"
            f" WHERE s.asset_id = ? AND {self._where} ORDER BY LENGTH(l.folder), l.folder, l.name LIMIT 1",
            (asset, *self._parameters),
        ).fetchone()
        return row and Place(row[0], row[1], os.fsdecode(os.path.join(row[2], row[3])))
