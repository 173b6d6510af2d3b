"""The desk of one box: the items that wait for it, those in its hands, and its answers."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import RLock

from workers.gateway.batch import Batch, Item, Piece, Result
from workers.gateway.leaving_queue import Look

# Bytes of answers that may be on their way from one box: it gets no items whose answers may come to more.
MOST_ON_THE_WAY = 64_000_000
# A box that has not asked for items of a task for so long does not serve it: no model, or busy for long.
ASKED_SECONDS = 40.0
# So often a rendition may be fetched for one item: a link may be cut, but no box makes us send for ever.
MOST_FETCHES = 6
# Of its last answers about a task so many may be that it did not do the item; more are the box's fault.
LAST, MOST_UNDONE = 40, 20


@dataclass(slots=True)
class Spent:
    """What a box did of a task since this was last asked: items, their weight, and the seconds they took."""

    items: int = 0
    weight: float = 0.0
    seconds: float = 0.0


class Desk:
    """What passes between the stand-ins of one box and its requests; any thread may call its methods.

    It is `open` (takes items and gives them), or not: then waiting items are given back, and those in the
    box's hands can still be answered; or `closed`: then all are given back.
    """

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.label = label
        self._lock = RLock()
        self.open = True
        self.closed = False
        self.heard = clock()
        self._clock = clock
        self._waiting: dict[str, deque[Piece]] = {}
        self._in_hand: dict[str, Piece] = {}
        # What waits again, and may yet be answered: the box had it before it began anew.
        self._in_doubt: dict[str, Piece] = {}
        # Items a second of each task, as far as they are known.
        self.rates: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._spent: dict[str, Spent] = {}
        self._spent_until = clock()
        self._looks: dict[str, Look] = {}
        # What is wrong with the box; it is closed then.
        self.trouble = ""
        self._undone: dict[str, deque[bool]] = {}

    # --- the side of the stand-ins ---

    def look(self, task: str) -> Look:
        """What all stand-ins of a task know of its queue."""
        with self._lock:
            return self._looks.setdefault(task, Look())

    def put(self, task: str, model: str, items: Sequence[Item]) -> Batch:
        """Lay down the items of a job; none where the desk is not open."""
        batch = Batch(self, self._lock)
        with self._lock:
            if self.open:
                batch.outstanding = len(items)
                now = self._clock()
                pieces = [
                    Piece(secrets.token_hex(12), task, model, item, batch, index, now)
                    for index, item in enumerate(items)
                ]
                self._waiting.setdefault(task, deque()).extend(pieces)
        return batch

    def withdraw(self, batch: Batch) -> None:
        """Take back what is left of a batch; a later answer is to nothing."""
        with self._lock:
            self._count_time()
            for task, pieces in self._waiting.items():
                self._waiting[task] = deque(piece for piece in pieces if piece.batch is not batch)
            for held in (self._in_hand, self._in_doubt):
                for id in [id for id, piece in held.items() if piece.batch is batch]:
                    del held[id]
            batch.lose(batch.outstanding)

    def drain(self) -> None:
        """Give back what waits; what is in the box's hands may still be answered."""
        with self._lock:
            self.open = False
            for pieces in self._waiting.values():
                for piece in pieces:
                    piece.batch.lose(1)
            self._waiting.clear()
            self._in_doubt.clear()

    def close(self) -> None:
        """Give everything back."""
        with self._lock:
            self._count_time()
            self.drain()
            self.closed = True
            for piece in self._in_hand.values():
                piece.batch.lose(1)
            self._in_hand.clear()

    # --- the side of the box ---

    def begin_anew(self) -> None:
        """The box has started again, or lost an answer: what was in its hands waits again, if it is open."""
        with self._lock:
            self._count_time()
            if not self.open:
                return
            self._in_doubt |= self._in_hand
            for piece in reversed(self._in_hand.values()):
                self._waiting.setdefault(piece.task, deque()).appendleft(piece)
            self._in_hand.clear()

    def waiting(self, task: str, most: int) -> list[Piece]:
        """The next items of a task, which stay where they are till they are given."""
        with self._lock:
            self._asked[task] = self._clock()
            return list(self._waiting.get(task, ()))[:most]

    def give(self, piece: Piece, allowance: int, parts: int) -> bool:
        """Put an item into the box's hands; False where it is gone, or too much would be on its way."""
        with self._lock:
            pieces = self._waiting.get(piece.task, deque())
            on_the_way = sum(each.allowance for each in self._in_hand.values())
            if piece not in pieces or (self._in_hand and on_the_way + allowance > MOST_ON_THE_WAY):
                return False
            self._count_time()
            pieces.remove(piece)
            piece.allowance, piece.parts = allowance, parts
            piece.given = self._clock() if piece.given is None else piece.given
            self._in_doubt.pop(piece.id, None)
            self._in_hand[piece.id] = piece
            return True

    def take_back(self, pieces: Sequence[Piece]) -> None:
        """Items that were given and did not reach the box wait again."""
        with self._lock:
            self._count_time()
            for piece in reversed(pieces):
                if self._in_hand.pop(piece.id, None) is None:
                    continue
                if self.open:
                    piece.given = None
                    self._waiting.setdefault(piece.task, deque()).appendleft(piece)
                else:
                    piece.batch.lose(1)

    def in_hand(self, id: str) -> Piece | None:
        """The item of this id, if it is, or may be, in the box's hands."""
        with self._lock:
            return self._in_hand.get(id) or self._in_doubt.get(id)

    def fetches(self, asset: str, task: str) -> bool:
        """Whether the box may fetch the rendition of an asset for a task now; counts that it does."""
        with self._lock:
            mine = [p for p in self._in_hand.values() if p.item["asset"] == asset and p.task == task]
            for piece in mine:
                piece.fetched += 1
            return any(piece.fetched <= MOST_FETCHES for piece in mine)

    def answer(self, id: str, result: Result) -> bool:
        """What the box says of an item; False where nothing of this id is here."""
        with self._lock:
            piece = self.in_hand(id)
            if piece is None:
                return False
            self._settle(piece, result)
            if "data" in result:
                spent = self._spent.setdefault(piece.task, Spent())
                spent.items += 1
                spent.weight += piece.weight
            self._count_undone(piece.task, "data" not in result)
            return True

    def keep_home(self, asset: str, task: str, reason: str) -> None:
        """Send home the items of an asset that the box has and may not have."""
        with self._lock:
            for piece in [p for p in self._in_hand.values() if p.item["asset"] == asset and p.task == task]:
                self._settle(piece, {"home": reason})

    def refuse(self, piece: Piece, reason: str) -> None:
        """Send an item home before the box has it."""
        with self._lock:
            if piece in self._waiting.get(piece.task, ()):
                self._settle(piece, {"home": reason})

    def _settle(self, piece: Piece, result: Result) -> None:
        """Take an item from wherever it is; this has become of it."""
        self._count_time()
        self._in_hand.pop(piece.id, None)
        self._in_doubt.pop(piece.id, None)
        if piece in self._waiting.get(piece.task, ()):
            self._waiting[piece.task].remove(piece)
        piece.batch.lose(1, (piece.index, result))

    def _count_undone(self, task: str, undone: bool) -> None:
        last = self._undone.setdefault(task, deque(maxlen=LAST))
        last.append(undone)
        if sum(last) > MOST_UNDONE:
            self.trouble = f"{sum(last)} of its last {len(last)} answers about {task} are no findings"
            self.close()

    def is_asked_for(self, task: str) -> bool:
        """Whether the box has asked for items of a task of late."""
        return self._clock() - self._asked.get(task, float("-inf")) < ASKED_SECONDS

    def give_back_unasked(self, task: str) -> None:
        """Give back the waiting items of a task that the box does not ask for."""
        with self._lock:
            if not self.is_asked_for(task):
                for piece in self._waiting.pop(task, ()):
                    self._in_doubt.pop(piece.id, None)
                    piece.batch.lose(1)

    def give_back_late(self, task: str, seconds: float) -> int:
        """Have others do what the box had first so long ago, or what waits here twice as long; how many."""
        now = self._clock()
        why = f"box {self.label} did not answer it in {seconds:g} s"
        with self._lock:
            mine = [*self._in_hand.values(), *self._waiting.get(task, ())]
            late = [
                piece
                for piece in mine
                if piece.task == task and (now - piece.put > 2 * seconds or now - _had(piece, now) > seconds)
            ]
            for piece in late:
                self._settle(piece, {"elsewhere": why, "box": self.label})
        return len(late)

    # --- what it looks like ---

    def counts(self) -> tuple[int, int]:
        """How many items wait, and how many are in the box's hands."""
        with self._lock:
            return sum(map(len, self._waiting.values())), len(self._in_hand)

    def heaviest(self) -> float:
        """The weight of the heaviest item in the box's hands; 0 where there is none."""
        with self._lock:
            return max((piece.weight for piece in self._in_hand.values()), default=0.0)

    def allowance(self) -> int:
        """How many bytes the answers may have that are on their way."""
        with self._lock:
            return sum(piece.allowance for piece in (*self._in_hand.values(), *self._in_doubt.values()))

    def spent(self) -> dict[str, Spent]:
        """What the box did since this was last asked, by task: the time with several at hand is shared.

        The time of a long item is counted when it is done: until then it says nothing of how fast that went.
        """
        with self._lock:
            self._count_time()
            spent = {task: each for task, each in self._spent.items() if each.items}
            self._spent = {task: each for task, each in self._spent.items() if not each.items}
            for task, each in spent.items():
                if each.items and each.seconds:
                    before = self.rates.get(task, each.items / each.seconds)
                    self.rates[task] = (before + each.items / each.seconds) / 2
            return spent

    def _count_time(self) -> None:
        now = self._clock()
        # What is in doubt may be worked on too, or a box that says hello again and again would seem fast.
        tasks = {piece.task for piece in (*self._in_hand.values(), *self._in_doubt.values())}
        for task in tasks:
            self._spent.setdefault(task, Spent()).seconds += (now - self._spent_until) / len(tasks)
        self._spent_until = now


def _had(piece: Piece, now: float) -> float:
    """When the box had an item first; now, where it has not had it yet."""
    return now if piece.given is None else piece.given
