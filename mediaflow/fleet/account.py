"""The account at Vast.ai, with the API key as it is now: one that was changed is read anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from mediaflow.errors import ConfigError
from mediaflow.fleet.key import api_key
from mediaflow.fleet.market import Charge, Instance, Offer, Order, Refused
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.vast import Vast

Answer = TypeVar("Answer")


class Account:
    """The market of a process that runs for long: when it is refused, the key is looked at again."""

    def __init__(self, fleet: FleetSettings) -> None:
        """Raises ConfigError without a key or the SDK."""
        self._fleet = fleet
        self._key = api_key()
        self._vast = Vast(fleet, self._key)

    def offers(self) -> Sequence[Offer]:
        """What can be rented now and fits the settings."""
        return self._ask(lambda vast: vast.offers())

    def order(self, order: Order) -> int:
        """Rent; the contract. Sent once, never again: raises OfferGone, NoCredit, OrderUncertain."""
        try:
            return self._vast.order(order)
        except Refused:
            self._has_changed()
            raise

    def instances(self) -> Sequence[Instance]:
        """All that is rented, also by others with this account. Raises MarketError when the list is odd."""
        return self._ask(lambda vast: vast.instances())

    def destroy(self, contract: int) -> None:
        """End a box; no error where it is gone already."""
        self._ask(lambda vast: vast.destroy(contract))

    def charges(self, since: float) -> Sequence[Charge]:
        """What was paid from the day of `since` on."""
        return self._ask(lambda vast: vast.charges(since))

    def credit(self) -> float:
        """Dollars left."""
        return self._ask(lambda vast: vast.credit())

    def logs(self, contract: int, lines: int) -> str:
        """The end of a box's log."""
        return self._ask(lambda vast: vast.logs(contract, lines))

    def _ask(self, call: Callable[[Vast], Answer]) -> Answer:
        try:
            return call(self._vast)
        except Refused:
            if not self._has_changed():
                raise
        return call(self._vast)

    def _has_changed(self) -> bool:
        """Whether there is another key now; it is used from here on."""
        try:
            key = api_key()
        except ConfigError:  # being written, or gone: what Vast.ai said says more
            return False
        if key == self._key:
            return False
        self._key, self._vast = key, Vast(self._fleet, key)
        return True
