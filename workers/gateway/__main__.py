"""`python -m workers.gateway [PARENT]`: serves boxes and stands in for them, until it is told to stop.

PARENT is the pid of the process without which it is to stop too.
"""

from __future__ import annotations

import logging
import math
import signal
import sqlite3
import sys
import time

from redis import Redis
from redis.exceptions import RedisError

from mediaflow.errors import MediaflowError
from mediaflow.fleet.settings import load_fleet
from mediaflow.lifeline import Stop, end_with_parent
from mediaflow.privacy import keep_private
from mediaflow.queues.connection import connect
from mediaflow.service.certificate import gateway_certificate
from mediaflow.service.links import Links
from mediaflow.service.server import Server
from mediaflow.settings import load_settings
from workers.gateway.boxes import Boxes
from workers.gateway.desk import Desk
from workers.gateway.gateway import Gateway, tasks_of_boxes
from workers.gateway.routes import application
from workers.gateway.stand_in import StandIn

log = logging.getLogger("mediaflow.gateway")

QUEUE_SECONDS = 20
LOOK_SECONDS = 0.5
WRITE_SECONDS = 5.0
STOP_SECONDS = 15.0
# More than one file may take, an item may be in a box's hands for so long, from when it had it first: others
# are before it.
LATE_SECONDS = 120.0
# Stand-ins for one task of one box: as many as have so many seconds of its work.
FEWEST_HANDS, MOST_HANDS = 2, 16
AHEAD_SECONDS = 6.0
# Store jobs that may wait, and the part of the queue's memory that may be used, before results are held back.
MOST_WAITING = 200
MOST_MEMORY = 0.8


class Keeper:
    """The loop beside the server: desks as the ledger says, stand-ins for each, a record of what was done."""

    def __init__(self, gateway: Gateway, connection: Redis) -> None:
        self._gateway, self._connection = gateway, connection
        self._hands: dict[tuple[Desk, str], list[StandIn]] = {}
        self._written = 0.0
        self._count = 0

    def look(self) -> None:
        """Once; to be called again and again."""
        desks = self._gateway.boxes.look()
        self._gateway.congested = self._is_congested()
        for desk in desks:
            for task in tasks_of_boxes() if desk.open else ():
                hands = self._hands.setdefault((desk, task), [])
                hands[:] = [hand for hand in hands if hand.runs()]
                desk.give_back_unasked(task)
                while desk.is_asked_for(task) and len(hands) < _wanted_hands(desk, task):
                    self._count += 1
                    hands.append(StandIn(desk, task, self._count))
                desk.give_back_late(task, load_settings().tasks[task].seconds + LATE_SECONDS)
        for (desk, task), hands in list(self._hands.items()):
            if desk.closed and not any(hand.runs() for hand in hands):
                del self._hands[desk, task]
        if time.monotonic() - self._written > WRITE_SECONDS:
            self._written = time.monotonic()
            self._gateway.boxes.write_down()

    def stop(self) -> None:
        """Give everything back, and wait for the stand-ins to have done so."""
        self._gateway.boxes.close()
        hands = [hand for each in self._hands.values() for hand in each]
        deadline = time.monotonic() + STOP_SECONDS
        for hand in hands:
            hand.stop()
        for hand in hands:
            hand.join(max(0.1, deadline - time.monotonic()))
        self._gateway.boxes.write_down()

    def _is_congested(self) -> bool:
        try:
            memory = self._connection.info("memory")
            most = int(memory.get("maxmemory") or 0)
            full = bool(most) and int(memory["used_memory"]) > most * MOST_MEMORY
            return full or int(self._connection.llen("rq:queue:index")) > MOST_WAITING
        except RedisError:
            return True


def _wanted_hands(desk: Desk, task: str) -> int:
    """How many stand-ins a task of a box should have: their number only grows, idle ones cost little."""
    ahead = desk.rates.get(task, 0.0) * AHEAD_SECONDS / load_settings().tasks[task].batch
    return max(FEWEST_HANDS, min(MOST_HANDS, math.ceil(ahead)))


def main() -> int:
    """Serve; returns the exit status."""
    keep_private()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("rq.worker", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    stop = Stop(signal.SIGTERM, signal.SIGINT)
    try:
        settings = load_fleet().gateway
        connection = connect(QUEUE_SECONDS)
        gateway = Gateway(Boxes(), Links.fresh())
        server = Server(application(gateway), settings.listen, settings.port, gateway_certificate())
    except MediaflowError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    keeper = Keeper(gateway, connection)
    server.start()
    log.info("The gateway listens on %s port %s.", settings.listen, server.port)
    while not stop.wait(LOOK_SECONDS) and server.serves():
        try:
            keeper.look()
        except sqlite3.Error as error:  # a full disk, a ledger that is locked: it may pass
            log.warning("The fleet's ledger cannot be used: %s", error)
    gateway.ending = True
    keeper.stop()
    server.stop()
    return 0 if stop.is_told else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        end_with_parent(signal.SIGTERM, int(sys.argv[1]))
    sys.exit(main())
