"""An account on the simulated market: orders, boxes, money. Every call is given the time it happens at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from mediaflow.fleet.simulator.faults import STALENESS, Faults
from mediaflow.fleet.simulator.prices import HOUR, Ask, Prices
from mediaflow.fleet.simulator.rented import Fate, Rented
from mediaflow.fleet.spending import START_GB

FIRST_CONTRACT = 7_000_001
# Loading takes between these times what the network would allow.
FASTEST_LOAD, SLOWEST_LOAD = 0.9, 1.3
SOON = 90.0  # seconds of running after which a forced fault happens to a box


class Denied(Exception):
    """The market's answer to what cannot be done; it names a contract where one was made all the same."""

    def __init__(self, status: int, code: str, message: str, contract: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.contract = contract


@dataclass(frozen=True, slots=True)
class Request:
    """An order: `bid` (dollars an hour without the disk) makes it interruptible."""

    offer: int
    label: str
    image: str
    disk_gb: float
    environment: Mapping[str, str]
    bid: float | None = None


class Account:
    """One customer of the market. `haste` divides the time that boxes take to load, for tests."""

    def __init__(self, prices: Prices, faults: Faults, *, credit: float = 100.0, haste: float = 1.0) -> None:
        self.prices = prices
        self.faults = faults
        self.haste = haste
        self.boxes: dict[int, Rented] = {}  # also those that have ended
        self._credit = credit
        self._now = prices.start
        self._random = Random(f"account {prices.seed}")
        self._blocked = False

    def advance(self, now: float) -> None:
        """Let everything happen that happens until `now`."""
        for box in self.open:
            while box.settled < now:
                until = min(now, box.next_change(), self._next_hour(box.settled))
                self._credit -= box.settle(until)
                if box.next_change() <= until:
                    box.change()
                if box.running and not box.bandwidth_gb:  # for the first time
                    self.transfer(box.settled, box.contract, START_GB)
                if (
                    box.interruptible
                    and box.running
                    and self.prices.price(box.machine, box.settled)[1] > box.gpu
                ):
                    box.stop()
        self._now = max(self._now, now)
        self._blocked = self.faults.lasts("credit", now, self.prices.start)
        if self._credit <= 0 or self._blocked:
            for box in self.open:
                if box.intended == "running":
                    box.stop()

    def credit(self, now: float) -> float:
        """Dollars left."""
        self.advance(now)
        return 0.0 if self._blocked else self._credit

    def search(self, now: float) -> list[Ask]:
        """What can be rented now."""
        self.advance(now)
        mine = {box.machine.id for box in self.open}
        return [ask for ask in self.prices.asks(now) if ask.machine.id not in mine]

    def order(self, now: float, request: Request) -> Rented:
        """Rent. Raises Denied; where that names a contract, something was made all the same."""
        self.advance(now)
        ask = next((each for each in self.search(now) if each.id == request.offer), None)
        if ask is None or self.faults.strikes("gone"):
            message = f"error 404/3603: no_such_ask Instance type by id {request.offer} is not available."
            raise Denied(404, "no_such_ask", message)
        if self._credit <= 0 or self._blocked:
            raise Denied(400, "insufficient_credit", "Your account has no credit left. Add some first.")
        box = self._make(now, ask, request)
        if request.bid is not None and request.bid < ask.bid:
            box.stop()
            raise Denied(400, "invalid_price", f"The bid must be at least {ask.bid}.", box.contract)
        if self.faults.strikes("twice"):
            self._make(now, ask, request)
        return box

    def listed(self, now: float) -> list[Rented]:
        """What the list of boxes says: not always all there is."""
        self.advance(now)
        if self.faults.strikes("empty"):
            return []
        boxes = self.open
        if self.faults.strikes("stale"):
            return [box for box in boxes if box.ordered < now - STALENESS]
        return boxes

    def box(self, now: float, contract: int) -> Rented:
        """One box that has not ended. Raises Denied."""
        self.advance(now)
        found = self.boxes.get(contract)
        if found is None or found.ended is not None:
            raise Denied(404, "no_such_instance", f"Instance {contract} not found.")
        return found

    def destroy(self, now: float, contract: int) -> None:
        """End a box. Raises Denied where there is none."""
        self.box(now, contract).ended = now

    def stop(self, now: float, contract: int) -> None:
        """Stop a box; its disk costs still. Raises Denied."""
        self.box(now, contract).stop()

    def restart(self, now: float, contract: int) -> None:
        """Start a stopped box again, if nobody bids more. Raises Denied."""
        box = self.box(now, contract)
        if box.intended == "running" and box.status == "running":
            return
        if box.interruptible and self.prices.price(box.machine, now)[1] > box.gpu:
            raise Denied(400, "outbid", "The bid is below what others pay.")
        box.start(now, 30 / self.haste)

    def bid(self, now: float, contract: int, price: float | None) -> None:
        """Change the bid of an interruptible box; None: the lowest. Raises Denied."""
        box = self.box(now, contract)
        if not box.interruptible:
            raise Denied(400, "invalid_args", "The instance is on demand: it has no bid.")
        lowest = self.prices.price(box.machine, now)[1]
        box.gpu = lowest if price is None else price
        if box.gpu < lowest:
            box.stop()

    def transfer(self, now: float, contract: int, gigabytes: float) -> None:
        """A box received so much over the network."""
        box = self.boxes[contract]
        dollars = gigabytes * box.machine.traffic_in
        box.bandwidth_gb += gigabytes
        box.pay(now // 86400 * 86400, "bwd", dollars)
        self._credit -= dollars

    def _make(self, now: float, ask: Ask, request: Request) -> Rented:
        """A new contract, and what will happen to it."""
        faults = self.faults
        contract = FIRST_CONTRACT + len(self.boxes) * 11
        box = Rented(
            contract=contract,
            machine=ask.machine,
            label=request.label,
            image=request.image,
            disk_gb=request.disk_gb,
            environment=dict(request.environment),
            gpu=ask.gpu if request.bid is None else request.bid,
            storage=ask.storage(request.disk_gb),
            interruptible=request.bid is not None,
            ordered=now,
            runs_at=now + ask.machine.pulling * self._random.uniform(FASTEST_LOAD, SLOWEST_LOAD) / self.haste,
            fate=Fate(
                stuck=faults.strikes("stuck"),
                exits=self._soon("exited"),
                offline=self._soon("offline"),
                outbid=self._soon("outbid"),
                slow=faults.strikes("slow"),
                silent=self._soon("silent"),
                wrong=faults.strikes("wrong"),
                skew=faults.strikes("skew"),
            ),
            settled=now,
        )
        self.boxes[contract] = box
        return box

    def _soon(self, fault: str) -> float | None:
        after = self.faults.strikes_soon(fault)
        return SOON / self.haste if after == 0 else after

    @property
    def open(self) -> list[Rented]:
        """The boxes that have not ended."""
        return [box for box in self.boxes.values() if box.ended is None]

    def _next_hour(self, now: float) -> float:
        """When prices change next."""
        return self.prices.start + ((now - self.prices.start) // HOUR + 1) * HOUR
