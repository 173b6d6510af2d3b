"""The simulated account as a market for the controller, in simulated time and with the same faults."""

from __future__ import annotations

from collections.abc import Sequence

from mediaflow.fleet.market import (
    Charge,
    Instance,
    InstanceState,
    MarketError,
    NoCredit,
    Offer,
    OfferGone,
    Order,
    OrderUncertain,
    Refused,
    Throttled,
)
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.simulator.account import Account, Denied, Request
from mediaflow.fleet.simulator.prices import Ask
from mediaflow.fleet.simulator.rented import Rented


def fits(ask: Ask, settings: FleetSettings) -> bool:
    """Whether the settings allow to rent this machine, whatever it costs."""
    machine, wanted = ask.machine, settings.offers
    return (
        machine.model.ram_gb >= wanted.gpu_ram_gb
        and machine.reliability >= wanted.reliability
        and (machine.verified or not wanted.verified)
        and (machine.datacenter or not wanted.datacenter)
        and machine.down_mbps >= wanted.inet_down_mbps
        and machine.cuda >= wanted.cuda
        and (not wanted.regions or machine.region.rpartition(", ")[2] in wanted.regions)
        and (not wanted.gpus or machine.model.name in wanted.gpus)
    )


class Trade:
    """The protocol `Market`, spoken by the account; `now` is set by whoever moves the time."""

    def __init__(self, account: Account, settings: FleetSettings) -> None:
        self.now = account.prices.start
        self._account = account
        self._settings = settings

    def offers(self) -> Sequence[Offer]:
        """What can be rented now and fits the settings."""
        self._door()
        return [self._offer(ask) for ask in self._account.search(self.now) if fits(ask, self._settings)]

    def order(self, order: Order) -> int:
        """Rent; the contract. As with the real market, an error of its door does not say what came of it."""
        try:
            self._door()
        except Throttled:
            raise
        except MarketError as error:
            raise OrderUncertain(str(error)) from None
        request = Request(order.offer, order.label, order.image, order.disk_gb, order.environment, order.bid)
        try:
            box = self._account.order(self.now, request)
        except Denied as error:
            if error.contract is not None:
                raise OrderUncertain(error.message, error.contract) from None
            kinds = {"no_such_ask": OfferGone, "insufficient_credit": NoCredit}
            raise kinds.get(error.code, Refused)(error.message) from None
        if self._account.faults.strikes("late"):
            raise OrderUncertain("The answer did not come in time.")
        return box.contract

    def instances(self) -> Sequence[Instance]:
        """All that is rented; an empty list where there were boxes is odd, as it is for the real one."""
        self._door()
        return [_instance(box) for box in self._account.listed(self.now)]

    def destroy(self, contract: int) -> None:
        """End a box; no error where it is gone already."""
        self._door()
        try:
            self._account.destroy(self.now, contract)
        except Denied as error:
            if error.status != 404:
                raise MarketError(error.message) from None

    def charges(self, since: float) -> Sequence[Charge]:
        """What was paid from the day of `since` on."""
        self._door()
        self._account.advance(self.now)
        found: dict[tuple[int, str, float], float] = {}
        for box in self._account.boxes.values():
            for (day, _), dollars in box.dollars.items():
                if day >= since // 86400 * 86400:
                    key = (box.contract, box.label, day)
                    found[key] = found.get(key, 0.0) + dollars
        return [Charge(*key, dollars) for key, dollars in found.items()]

    def credit(self) -> float:
        """Dollars left."""
        self._door()
        return self._account.credit(self.now)

    def logs(self, contract: int, lines: int) -> str:
        """Simulated boxes write none."""
        self._door()
        return ""

    def _door(self) -> None:
        """Raises what the market's door answers when it does not let anybody in."""
        faults = self._account.faults
        if faults.strikes("5xx") or faults.lasts("outage", self.now, self._account.prices.start):
            raise MarketError("The market's gateway answers with an error (502).")
        if faults.strikes("429"):
            raise Throttled("Too many requests.")

    def _offer(self, ask: Ask) -> Offer:
        machine = ask.machine
        storage = ask.storage(self._settings.disk_gb)
        performance = 6.5 * machine.model.speed * machine.quality
        return Offer(
            id=ask.id,
            machine=machine.id,
            host=machine.host,
            gpu=machine.model.name,
            gpu_ram_gb=machine.model.ram_gb,
            price=ask.gpu + storage,
            bid=ask.bid + storage,
            storage=storage,
            reliability=machine.reliability,
            verified=machine.verified,
            datacenter=machine.datacenter,
            region=machine.region.rpartition(", ")[2],
            cuda=machine.cuda,
            down_mbps=machine.down_mbps,
            up_mbps=machine.up_mbps,
            traffic_in=machine.traffic_in,
            traffic_out=machine.traffic_out,
            score=performance / (ask.gpu + storage) * machine.reliability**4,
        )


def _instance(box: Rented) -> Instance:
    state: InstanceState = "loading"
    if box.intended == "stopped":
        state = "stopped"
    elif box.status in ("running", "exited", "offline"):
        state = box.status
    return Instance(
        contract=box.contract,
        label=box.label,
        machine=box.machine.id,
        host=box.machine.host,
        gpu=box.machine.model.name,
        state=state,
        price=box.price,
        started=box.ordered,
    )
