"""The boxes that are served: who they are by the ledger, their desks, and what is written down of them."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from mediaflow.fleet import ledger
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.speeds import Speeds
from mediaflow.settings import home
from workers.gateway.answers import Beat, Hello, plain, shown
from workers.gateway.desk import Desk

log = logging.getLogger("mediaflow.gateway")

# A box with items in its hands that says nothing for so long is given up: they go back into the queues.
SILENT_SECONDS = 30.0
# Bytes of the log of one box: of a longer one the first and the last part stay. It is added to so often.
LONGEST_LOG, FIRST_OF_LOG, LAST_OF_LOG = 1_000_000, 200_000, 300_000
LOG_SECONDS = 5.0
MOST_HARDWARE = 8000
# Of its greetings so many are told of.
MOST_EVENTS = 10
# A box is believed to be so many times as fast as is guessed of its GPU.
MOST_TIMES = 10


class Boxes:
    """All boxes of the ledger as the gateway sees them. Methods may be called by any thread."""

    def __init__(self) -> None:
        self._db = ledger.open_ledger()
        self._lock = Lock()
        self._desks: dict[str, Desk] = {}
        self._heard: dict[str, float] = {}
        self._logged: dict[str, float] = {}
        self._written = 0.0
        self._sending = Lock()
        self._sent: dict[str, int] = {}
        self._greetings: Counter[str] = Counter()

    # --- asked by requests ---

    def of_token(self, token_hash: str) -> Box | None:
        """The box with this credential, if that is good now; it was heard of."""
        with self._lock:
            box = ledger.box_of_token(self._db, token_hash, time.time())
            if box is not None:
                self._heard[box.label] = time.time()
                if desk := self._desks.get(box.label):
                    desk.heard = time.monotonic()
            return box

    def desk(self, box: Box) -> Desk | None:
        """The desk of a box that works or drains; None while it has none. Waits for nothing."""
        return self._desks.get(box.label)

    def hello(self, box: Box, said: Hello) -> None:
        """A box has started: what it has, and that it works; or why it cannot."""
        hardware = {**plain(said.hardware), "checks": [plain(check.model_dump()) for check in said.checks]}
        text = json.dumps(hardware)
        failed = [f"{check.name}: {check.said}" for check in said.checks if not check.ok]
        trouble = "" if said.well else shown("; ".join(failed) or "it says that it is not well")
        columns: dict[str, Any] = {}
        if len(text) <= MOST_HARDWARE:
            columns["hardware"] = text
        now = time.time()
        with self._lock, ledger.transaction(self._db):
            ledger.update(self._db, box.label, seen=now, **columns)
            self._write_trouble(box.label, trouble)
            if said.well:
                # Only of what is not at its end: the controller may have decided meanwhile.
                self._db.execute(
                    "UPDATE boxes SET hello = COALESCE(hello, ?), state = 'working'"
                    " WHERE label = ? AND state IN ('intended', 'loading', 'working')",
                    (now, box.label),
                )
            self._greetings[box.label] += 1
            if self._greetings[box.label] <= MOST_EVENTS:
                ledger.event(self._db, now, f"hello: {trouble or 'it is well'}", box.label)
        with self._lock:
            if desk := self._desks.get(box.label):
                desk.begin_anew()

    def beat(self, box: Box, said: Beat) -> None:
        """A box lives: since when it has its models, what it cannot do, and what it says of itself."""
        if said.ready and box.ready is None:
            with self._lock:
                ledger.update(self._db, box.label, ready=time.time())
        if said.unable:
            # It is counted on for every task: one that does only some of them would be waited for in vain.
            trouble = "; ".join(f"cannot do {task}: {why}" for task, why in said.unable.items())
            with self._lock:
                self._write_trouble(box.label, shown(trouble))
        if said.log:
            self.add_to_log(box.label, said.log)

    def is_alone(self, box: str, task: str) -> bool:
        """Whether no other box does this task now. Waits for nothing."""
        others = [desk for label, desk in list(self._desks.items()) if label != box]
        return not any(desk.open and desk.is_asked_for(task) for desk in others)

    def sent(self, box: str, size: int) -> None:
        """So many bytes were sent to a box. Waits for nothing."""
        with self._sending:
            self._sent[box] = self._sent.get(box, 0) + size

    def add_to_log(self, box: str, text: str) -> None:
        """Keep what a box says of itself, printable, and no more than LONGEST_LOG bytes of it."""
        now = time.monotonic()
        if now - self._logged.get(box, float("-inf")) < LOG_SECONDS:
            return
        self._logged[box] = now
        lines = [shown(line) for line in text.splitlines()[-200:]]
        path = log_of(box)
        with self._lock, suppress(OSError):  # a full disk is for others to tell of
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > LONGEST_LOG:
                _shorten(path)
            with path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines if line)

    # --- asked by the gateway's own loop ---

    def look(self) -> list[Desk]:
        """Open and close desks as the ledger says; the desks that there are. Call it about twice a second."""
        with self._lock:
            known = {box.label: box for box in ledger.boxes(self._db)}
            for label, desk in list(self._desks.items()):
                box = known.get(label)
                if box is None or box.trouble or not _is_served(box):
                    desk.close()
                elif box.state == "draining" and desk.open:
                    desk.drain()
                elif desk.counts()[1] and time.monotonic() - desk.heard > SILENT_SECONDS:
                    log.warning("Box %s says nothing: its items go back.", label)
                    what = f"nothing heard for {SILENT_SECONDS:g} s: its items go back"
                    ledger.event(self._db, time.time(), what, label)
                    desk.close()
                if desk.closed:
                    with ledger.transaction(self._db):
                        self._write_down(label, desk, time.time())
                        if desk.trouble:
                            self._write_trouble(label, desk.trouble)
                            ledger.event(self._db, time.time(), f"{desk.trouble}: its items go back", label)
                    del self._desks[label]
            for label, box in {box.label: box for box in ledger.boxes(self._db)}.items():
                heard = time.time() - self._heard.get(label, 0.0) < SILENT_SECONDS
                if box.state == "working" and not box.trouble and heard and label not in self._desks:
                    self._desks[label] = Desk(label)
            return list(self._desks.values())

    def write_down(self) -> None:
        """Enter in the ledger what was done since this was called last."""
        with self._lock:
            desks = dict(self._desks)
            with self._sending:
                sent, self._sent = self._sent, {}
            now = time.time()
            with ledger.transaction(self._db):
                for label, at in self._heard.items():
                    if at < self._written:
                        continue
                    self._db.execute(
                        "UPDATE boxes SET seen = MAX(COALESCE(seen, 0), ?) WHERE label = ?", (at, label)
                    )
                for label, size in sent.items():
                    self._db.execute("UPDATE boxes SET bytes = bytes + ? WHERE label = ?", (size, label))
                for label, desk in desks.items():
                    self._write_down(label, desk, now)
            self._written = now

    def close(self) -> None:
        """Give all items back."""
        with self._lock:
            for desk in self._desks.values():
                desk.close()

    def _write_trouble(self, label: str, trouble: str) -> None:
        # A box that was in trouble cannot say that it is well again: it ends.
        self._db.execute("UPDATE boxes SET trouble = ? WHERE label = ? AND trouble = ''", (trouble, label))

    def _write_down(self, label: str, desk: Desk, now: float) -> None:
        spent = desk.spent()
        items = sum(each.items for each in spent.values())
        worked = now if items else None
        self._db.execute(
            "UPDATE boxes SET in_hand = ?, heaviest = ?, done = done + ?, worked = COALESCE(?, worked)"
            " WHERE label = ?",
            (desk.counts()[1], desk.heaviest(), items, worked, label),
        )
        box = ledger.box(self._db, label)
        if box is None or box.state in ("ending", "ended"):
            return  # what was measured of a liar was taken out
        for task, each in spent.items():
            most = MOST_TIMES * Speeds().rate(box.gpu, task) * each.seconds
            if each.seconds > 0:
                believed = min(1.0, most / each.items) if each.items else 1.0
                done = (each.items * believed, each.weight * believed)
                ledger.measured_of_box(self._db, box, task, *done, each.seconds, now)


def _is_served(box: Box) -> bool:
    return box.state in ("working", "draining") and box.lease >= time.time()


def _shorten(path: Path) -> None:
    # A box that floods its log must not wash away what it said before.
    whole = path.read_bytes()
    path.write_bytes(whole[:FIRST_OF_LOG] + "\n…\n".encode() + whole[-LAST_OF_LOG:])


def log_of(box: str) -> Path:
    """Where the log of a box is."""
    return home() / "logs" / f"box-{box}.log"
