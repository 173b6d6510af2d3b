"""All faults, and the deck from which they are dealt.

Each is a function that does its harm, takes back of it what does not pass by itself, and says what it did.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.chaos.job_faults import deliver_twice, garbage_jobs
from tests.chaos.machine_faults import full_disk, jump_clock, submit_twice
from tests.chaos.process_faults import (
    kill_busy_worker,
    kill_child,
    kill_index_writer,
    kill_submit,
    kill_up,
    kill_worker,
    power_cut,
    stop_for_a_while,
    stop_for_good,
)
from tests.chaos.scene import Scene
from tests.chaos.server_faults import (
    cut_connections,
    delay,
    flush,
    full_memory,
    kill_server,
    outage,
    read_only,
    stall,
)

Fault = Callable[[Scene], str]

# How many of each lie in a deck; a deck is dealt out before another is shuffled.
DECK: dict[Fault, int] = {
    kill_up: 1, kill_worker: 3, kill_busy_worker: 4, kill_child: 3, kill_index_writer: 2, kill_submit: 2,
    stop_for_a_while: 2, stop_for_good: 1, power_cut: 1, kill_server: 2, flush: 2, cut_connections: 3,
    stall: 1, delay: 1, outage: 1, full_memory: 1, read_only: 1, garbage_jobs: 2, deliver_twice: 2,
    full_disk: 1, jump_clock: 2, submit_twice: 2,
}  # fmt: skip


def deal(chance: random.Random, *, once: bool = False) -> Iterator[Fault]:
    """Faults without end, deck by deck; with `once`, each kind one time and no more."""
    while True:
        deck = [fault for fault, count in DECK.items() for _ in range(1 if once else count)]
        chance.shuffle(deck)
        yield from deck
        if once:
            return
