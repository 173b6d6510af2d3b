"""The end of all boxes: what is left of them, and a ledger for when the one on the disk cannot be written."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass

from mediaflow.errors import MediaflowError
from mediaflow.fleet import ledger
from mediaflow.fleet.labels import Labels
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.market import Market, MarketError, Refused

AGAIN = "Look at its console (console.vast.ai), and run `mediaflow fleet down` again."


@dataclass(frozen=True, slots=True)
class End:
    """What is left: open boxes of the ledger, contracts that the market lists under our name.

    `unseen` says why the market could not be asked; it is empty where it was. One that `refused` will not
    answer the next time either.
    """

    boxes: list[Box]
    listed: list[int]
    unseen: str = ""
    refused: bool = False

    @property
    def is_final(self) -> bool:
        """Whether looking again would show nothing else."""
        return self.refused or not (self.listed or self.unseen)

    @property
    def is_clear(self) -> bool:
        """Whether surely nothing is left."""
        return not (self.boxes or self.listed or self.unseen)

    def sentences(self) -> list[str]:
        """What is left and what to do, for people; nothing where nothing is left."""
        said = []
        for box in self.boxes:
            what = (
                "could not be ended" if box.contract is not None else "may have been ordered: no answer came"
            )
            contract = box.contract or "unknown"
            said.append(f"{box.label}: {what} (contract {contract}). It ends itself when its lease is over.")
        if self.unseen:
            said.append(f"Vast.ai could not be asked what is left. {self.unseen} {AGAIN}")
        elif self.listed:
            what = "contract" if len(self.listed) == 1 else "contracts"
            said.append(f"Vast.ai still lists {what} {', '.join(map(str, self.listed))}. {AGAIN}")
        elif self.boxes:
            said.append("mediaflow fleet doctor says what became of it.")
        return said


def look(market: Market, labels: Labels, db: sqlite3.Connection) -> End:
    """What is left: open boxes of the ledger, and boxes of this installation in the market's list."""
    boxes = ledger.boxes(db)
    try:
        found = [each.contract for each in market.instances() if labels.is_own(each.label, db)]
    except MarketError as error:
        return End(boxes, [], str(error), isinstance(error, Refused))
    return End(boxes, found)


def destroy_known(market: Market, db: sqlite3.Connection) -> None:
    """Have all open boxes of the ledger destroyed before anything else is asked or written.

    What does not work is told, and tried again, by the controller.
    """
    known = ledger.boxes(db)
    for box in known:
        if box.contract is not None:
            with suppress(MediaflowError):
                market.destroy(box.contract)
    for box in known:
        if box.state != "ending":
            reason = "asked for: mediaflow fleet down"
            ledger.update(db, box.label, state="ending", reason=reason)
            ledger.event(db, time.time(), f"ending: {reason}", box.label)


def spare_ledger() -> sqlite3.Connection:
    """A ledger in memory, with what can be read of the one on the disk."""
    for how in ("mode=ro", "immutable=1"):  # the second needs no file beside it, for which there is no room
        spare = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            with closing(sqlite3.connect(f"{ledger.ledger_path().as_uri()}?{how}", uri=True)) as source:
                source.backup(spare)
            spare.row_factory = sqlite3.Row
            spare.executescript(ledger.SCHEMA)
            ledger.boxes(spare)
        except sqlite3.Error:
            spare.close()
        else:
            return spare
    return ledger.open_ledger(":memory:")
