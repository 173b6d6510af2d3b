"""What was found, on its way to the gateway: many answers in one request, and the work never waits for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from workers.box.life import Life, Over
from workers.box.link import Link, Refused

log = logging.getLogger("mediaflow.box")

Answer = dict[str, Any]

MOST = 64
MOST_LENGTH = 4_000_000
PAUSE_SECONDS = 0.1


class Answers:
    """A thread that hands answers over in batches, again after every cut."""

    def __init__(self, link: Link, life: Life) -> None:
        self._link, self._life = link, life
        self._waiting: SimpleQueue[tuple[Answer, int, Callable[[], None]]] = SimpleQueue()
        self._thread = Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, answer: Answer, delivered: Callable[[], None]) -> None:
        """Have an answer handed over, at once or a moment later; then `delivered` is called."""
        self._waiting.put((answer, len(json.dumps(answer)), delivered))

    def _run(self) -> None:
        while not self._life.over():
            batch: list[Answer] = []
            called: list[Callable[[], None]] = []
            length = 0
            while len(batch) < MOST and length < MOST_LENGTH:
                try:
                    answer, size, delivered = self._waiting.get(timeout=PAUSE_SECONDS if batch else 0.5)
                except Empty:
                    break
                batch.append(answer)
                called.append(delivered)
                length += size
            if not batch:
                continue
            try:
                self._hand_over(batch, called)
            except Over:
                return

    def _hand_over(self, batch: list[Answer], called: list[Callable[[], None]]) -> None:
        """One that the gateway will not have spoils no other; of it only a reason is handed over."""
        try:
            self._link.results(batch, lambda: [each() for each in called])
        except Refused as error:
            half = len(batch) // 2
            if half:
                self._hand_over(batch[:half], called[:half])
                self._hand_over(batch[half:], called[half:])
            elif "reason" not in batch[0]:
                reason = f"the box's finding was refused: {error}"
                self._hand_over([{"id": batch[0]["id"], "reason": reason}], called)
            else:
                log.warning("An answer was refused: %s", error)
                called[0]()
