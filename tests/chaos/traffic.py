"""What people do all the time: they change the folder, submit it, search, look, and try again."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.pile import Picture, Pile
from tests.chaos.system import Answer, System, complaint

# Done, done with failed files, and a needed part that cannot be reached: under faults all three are right.
SUBMIT, ASK = (0, 1, 3), (0, 3)


@dataclass(slots=True)
class Traffic:
    """Threads that go on until `stop`; each has a chance of its own, so that none disturbs another."""

    system: System
    pile: Pile
    seed: str
    complaints: list[str] = field(default_factory=list)
    commands: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Begin."""
        for what in (self._change, self._submit, self._submit, self._ask):
            chance = random.Random(f"{self.seed} {what.__name__} {len(self._threads)}")
            self._threads.append(threading.Thread(target=self._go_on, args=(what, chance), daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, after the commands in hand."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def check(self, answer: Answer, allowed: tuple[int, ...]) -> None:
        """Keep what is wrong with how a command ended."""
        with self._lock:
            self.commands += 1
            if wrong := complaint(answer, allowed):
                said = (answer.error or answer.output).strip()[-600:]
                self.complaints.append(f"mediaflow {' '.join(answer.words)}: {wrong}: {said}")

    def _go_on(self, what: Callable[[random.Random], None], chance: random.Random) -> None:
        while not self._stop.wait(chance.uniform(0.1, 1.5)):
            try:
                what(chance)
            except Exception as error:  # a thread that ends in silence would be a harness that tests nothing
                self.complaints.append(f"harness: {what.__name__}: {type(error).__name__}: {error}")
                raise

    def _change(self, chance: random.Random) -> None:
        self.pile.change()

    def _submit(self, chance: random.Random) -> None:
        root = self.pile.root
        place = chance.choice((root, root, root / "a", root / "a" / "b", root / "c"))
        if not place.is_dir() or (self._stop.wait(0) and place != root):
            return
        wait = chance.random() < 0.3
        # In the end it may wait for what the settling has to show: there it is told to end.
        words = [
            "submit",
            str(place),
            *(["--wait"] if wait else []),
            *(["--json"] if chance.random() < 0.5 else []),
        ]
        self.check(self.system.run(*words), SUBMIT)

    def _ask(self, chance: random.Random) -> None:
        pictures = [content for content in list(self.pile.files.values()) if isinstance(content, Picture)]
        word = chance.choice(pictures).pages[0].word
        words = chance.choice(
            (
                ("search", word, "--json"), ("search", "a OR \"b NEAR( *"), ("status", "--json"), ("status",),
                ("failures", "--json"), ("failures",), ("runs",), ("retry",), ("retry", "--task", "look"),
                ("retry", "--reason", "longer than"),
            )
        )  # fmt: skip
        answer = self.system.run(*words)
        self.check(answer, ASK)
        if "--json" in words and answer.status == 0:
            try:
                json.loads(answer.output)
            except ValueError:
                self.complaints.append(f"mediaflow {' '.join(words)}: no JSON: {answer.output[:200]}")


def two_at_once(traffic: Traffic, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    """Two submits at the same moment."""

    def run(words: tuple[str, ...]) -> None:
        traffic.check(traffic.system.run(*words), SUBMIT)

    threads = [threading.Thread(target=run, args=(words,), daemon=True) for words in (first, second)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
