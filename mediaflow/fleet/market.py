"""The market: what can be rented, what is rented, and what renting may answer.

Two things speak this protocol: Vast.ai (`vast.py`), and the simulator in simulated time. Times are Unix
seconds, prices US dollars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mediaflow.errors import MediaflowError

Rent = Literal["on-demand", "interruptible"]


class MarketError(MediaflowError):
    """The market did not answer, or not in a way that can be understood: what is true there is unknown."""


class Throttled(MarketError):
    """Too many requests: ask again later."""


class OfferGone(MarketError):
    """Somebody else has rented it."""


class NoCredit(MarketError):
    """The account has no money left."""


class Refused(MarketError):
    """The key is wrong, or the request can never succeed: a person must change something."""


class OrderUncertain(MarketError):
    """An order was sent and its answer is not known: there may be a box. `contract` where one was named."""

    def __init__(self, message: str, contract: int | None = None) -> None:
        super().__init__(message)
        self.contract = contract


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine that can be rented now.

    `price` is for an hour on demand with the disk that was asked for, `bid` the lowest for an interruptible
    one (disk included too). `storage` is the part of both for the disk, due also while it is not running.
    `down_mbps` and `up_mbps` are its network's, `traffic_in` and `traffic_out` dollars for a GB.
    """

    id: int
    machine: int
    host: int
    gpu: str
    gpu_ram_gb: float
    price: float
    bid: float
    storage: float
    reliability: float
    verified: bool
    datacenter: bool
    region: str
    cuda: float
    down_mbps: float
    up_mbps: float
    traffic_in: float
    traffic_out: float
    score: float


@dataclass(frozen=True, slots=True)
class Order:
    """What is ordered of an offer. `bid` (dollars an hour, disk not included) makes it interruptible."""

    offer: int
    label: str
    image: str
    disk_gb: float
    environment: Mapping[str, str]
    bid: float | None = None


InstanceState = Literal["loading", "running", "stopped", "exited", "offline", "unknown"]


@dataclass(frozen=True, slots=True)
class Instance:
    """A box as the market lists it: `state` sums up Vast.ai's states, `said` is what it says of it.

    `stopped` is outbid or out of credit, `exited`: the container ended, `offline`: its host is not there.
    """

    contract: int
    label: str
    machine: int
    host: int
    gpu: str
    state: InstanceState
    price: float
    started: float
    said: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one box has cost on one day (the day's start as Unix seconds, UTC). Its label may be missing."""

    contract: int
    label: str
    day: float
    dollars: float


class Market(Protocol):
    """What the controller needs of a place that rents boxes. All raise MarketError."""

    def offers(self) -> Sequence[Offer]:
        """What can be rented now and fits the settings, as the market understands them."""

    def order(self, order: Order) -> int:
        """Rent; the contract. Sent once, never again: raises OfferGone, NoCredit, OrderUncertain."""

    def instances(self) -> Sequence[Instance]:
        """All that is rented, also by others with this account. Raises MarketError when the list is odd."""

    def destroy(self, contract: int) -> None:
        """End a box; no error where it is gone already."""

    def charges(self, since: float) -> Sequence[Charge]:
        """What was paid from the day of `since` on."""

    def credit(self) -> float:
        """Dollars left."""

    def logs(self, contract: int, lines: int) -> str:
        """The end of a box's log."""
