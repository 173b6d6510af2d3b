"""A market for the controller that does what a test tells it, and nothing by chance."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mediaflow.fleet import ledger
from mediaflow.fleet.backlog import Backlog, Waiting
from mediaflow.fleet.controller import Controller
from mediaflow.fleet.labels import Labels
from mediaflow.fleet.market import Charge, Instance, MarketError, Offer, Order, OrderUncertain
from mediaflow.fleet.settings import FleetSettings

START = 1_750_000_000.0


def offer(number: int, price: float) -> Offer:
    """A machine of its own host."""
    return Offer(
        id=number, machine=number, host=number, gpu="RTX 3060", gpu_ram_gb=12.0, price=price, bid=price * 0.6,
        storage=0.005, reliability=0.995, verified=True, datacenter=False, region="SE", cuda=12.8,
        down_mbps=800, up_mbps=400, traffic_in=0.0, traffic_out=0.0, score=10,
    )  # fmt: skip


class Market:
    """Eleven machines, the cheapest first. `out`: it answers nothing; `stuck`: what cannot be destroyed."""

    def __init__(self) -> None:
        self.offered = [offer(number, 0.1 + 0.01 * number) for number in range(1, 12)]
        self.rented: dict[int, Instance] = {}
        self.ordered: list[Order] = []
        self.destroyed: list[int] = []
        self.charged: Sequence[Charge] = ()
        self.out = self.twice = False
        self.stuck: set[int] = set()
        self.lists = 0

    def offers(self) -> Sequence[Offer]:
        self._door()
        return list(self.offered)

    def order(self, order: Order) -> int:
        self._door()
        self.ordered.append(order)
        if self.twice:
            self.twice = False
            self.rent(order.label, order.offer)
            self.rent(order.label, order.offer)
            raise OrderUncertain("no answer")
        return self.rent(order.label, order.offer)

    def rent(self, label: str, number: int = 1) -> int:
        """Let a box of this label be there."""
        of = next(each for each in self.offered if each.id == number)
        contract = 1001 + len(self.rented) + len(self.destroyed)
        self.rented[contract] = Instance(
            contract, label, of.machine, of.host, of.gpu, "loading", of.price, START
        )
        return contract

    def instances(self) -> Sequence[Instance]:
        self._door()
        self.lists += 1
        return list(self.rented.values())

    def destroy(self, contract: int) -> None:
        self._door()
        if contract in self.stuck:
            raise MarketError("not now")
        if self.rented.pop(contract, None) is not None:
            self.destroyed.append(contract)

    def charges(self, since: float) -> Sequence[Charge]:
        self._door()
        return self.charged

    def credit(self) -> float:
        self._door()
        return 50.0

    def logs(self, contract: int, lines: int) -> str:
        self._door()
        return ""

    def _door(self) -> None:
        if self.out:
            raise MarketError("no answer")


class Scene:
    """A controller on such a market, an endless backlog, and a time that a test moves on."""

    def __init__(self, *, market: Market | None = None, secret: bytes = b"", **changes: Any) -> None:
        self.market = market or Market()
        self.labels = Labels("mediaflow-test-", secret)
        self.db: sqlite3.Connection = ledger.open_ledger(":memory:")
        self.now = START
        self.items = 20_000
        self.known = True
        self.begin(**changes)

    def begin(self, **changes: Any) -> None:
        """Start the controller anew, with these settings."""
        fields = {"enabled": True, "name": "test", "libraries": {"default": ("embed",)}}
        self.settings = FleetSettings.model_validate(fields | changes)
        self.controller = Controller(self.market, self.db, self.settings, labels=self.labels)

    def tick(self, times: int = 1, seconds: float = 3.0) -> None:
        """Tick so many times. Work that waits is due within the hour."""
        for _ in range(times):
            waiting = (Waiting("embed", self.items, START + 3600, START),) if self.items else ()
            self.desire = self.controller.tick(self.now, Backlog(waiting, {}, self.known))
            self.now += seconds

    def hear(self, **columns: Any) -> None:
        """Let all boxes run, and say something: hello first, and these columns."""
        for contract, instance in self.market.rented.items():
            self.market.rented[contract] = replace(instance, state="running")
        for box in self.boxes():
            if box.contract is not None and box.state != "ending":
                state = "working" if box.state in ("intended", "loading") else box.state
                hello = box.hello or self.now
                said = {"hello": hello, "ready": hello, "seen": self.now, "state": state, **columns}
                ledger.update(self.db, box.label, **said)

    def boxes(self, *, ended: bool = False) -> list[ledger.Box]:
        """The boxes of the ledger."""
        return ledger.boxes(self.db, ended_since=0 if ended else None)

    def blamed(self) -> int:
        """How many machines are left alone."""
        return int(self.db.execute("SELECT COUNT(*) FROM blocks").fetchone()[0])
