"""Ordering: a box is written down and ordered once; what came of it says when and where the next may be."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping

from mediaflow.fleet import ledger
from mediaflow.fleet.cost import Estimate
from mediaflow.fleet.journal import Journal
from mediaflow.fleet.labels import Labels
from mediaflow.fleet.market import (
    Market,
    MarketError,
    NoCredit,
    OfferGone,
    Order,
    OrderUncertain,
    Refused,
    Throttled,
)
from mediaflow.fleet.settings import FleetSettings

# A machine that could not be had is left out of the offers for so long: the others are tried.
LEFT_OUT_SECONDS = 900.0
# So many orders in a row that came to nothing: then, and after a refusal, pauses (doubled up to the longest).
IN_A_ROW = 3
PAUSE_SECONDS, LONGEST_PAUSE = 300.0, 3600.0
# After an order that came too soon, or could not be sent.
SHORT_PAUSE = 30.0

Environment = Callable[[str, str], Mapping[str, str]]


class Ordering:
    """Orders boxes, and remembers what could not be had. What it remembers may be lost."""

    def __init__(
        self,
        market: Market,
        db: sqlite3.Connection,
        settings: FleetSettings,
        journal: Journal,
        labels: Labels,
        environment: Environment,
        secret: Callable[[], str],
    ) -> None:
        self._market, self._db, self._settings, self._journal = market, db, settings, journal
        self._labels, self._environment, self._secret = labels, environment, secret
        self._left_out: dict[int, float] = {}
        self._in_a_row = 0
        self._pause = PAUSE_SECONDS
        self._not_before = float("-inf")
        self._why = ""

    def paused(self, now: float) -> str | None:
        """Why nothing is ordered now; None where something may be."""
        return self._why if now < self._not_before else None

    def pause(self, until: float, why: str) -> None:
        """Order nothing until then."""
        if until > self._not_before:
            self._not_before, self._why = until, why

    def left_out(self, now: float) -> set[int]:
        """The machines that could not be had of late."""
        self._left_out = {machine: until for machine, until in self._left_out.items() if until > now}
        return set(self._left_out)

    def place(self, now: float, wish: Estimate) -> None:
        """Write a box down, then order it, once. What came of it is in the ledger."""
        offer, settings = wish.offer, self._settings
        token = self._secret()
        label = self._labels.make(token)
        bid = None
        if settings.rent == "interruptible":
            bid = round((offer.bid - offer.storage) * settings.bid, 4)
        row = {
            "label": label, "state": "intended", "token": hashlib.sha256(token.encode()).hexdigest(),
            "machine": offer.machine, "host": offer.host, "gpu": offer.gpu, "region": offer.region,
            "price": wish.price, "storage": offer.storage, "traffic": offer.traffic_in, "bid": bid,
            "intended": now, "lease": now + settings.silence_minutes * 60,
            "expires": now + settings.caps.hours * 3600,
        }  # fmt: skip
        with ledger.transaction(self._db):
            ledger.insert(self._db, row)
            what = f"wanted: {offer.gpu} of host {offer.host} for {wish.price:.3f} $ an hour"
            ledger.event(self._db, now, what, label)
        environment = self._environment(label, token)
        self._send(
            now, Order(offer.id, label, settings.image, settings.disk_gb, environment, bid), offer.machine
        )

    def _send(self, now: float, order: Order, machine: int) -> None:
        try:
            contract = self._market.order(order)
        except OrderUncertain as error:
            self._journal.in_trouble(now, f"It is not known what came of an order: {error}")
            if error.contract is not None:
                ledger.update(self._db, order.label, contract=error.contract)
                reason = "the order was refused, and a box made all the same"
                ledger.turn(self._db, order.label, "ending", reason, now)
                self._came_to_nothing(now, str(error), machine)
        except OfferGone as error:
            self._never_was(now, order.label, str(error))
            self._came_to_nothing(now, str(error), machine)
        except Refused as error:
            self._never_was(now, order.label, str(error))
            self._journal.in_trouble(now, str(error))
            self._came_to_nothing(now, str(error), machine, pauses=True)
        except NoCredit as error:
            self._never_was(now, order.label, str(error))
            self._journal.in_trouble(now, str(error))
            self._came_to_nothing(now, str(error), pauses=True)
        except MarketError as error:  # no box was made: it came too soon, or could not be sent
            self._never_was(now, order.label, str(error))
            if not isinstance(error, Throttled):
                self._journal.in_trouble(now, str(error))
            self._came_to_nothing(now, str(error))
            self.pause(now + SHORT_PAUSE, str(error))
        else:
            self._pause, self._in_a_row = PAUSE_SECONDS, 0
            self._db.execute(
                "UPDATE boxes SET contract = ?, state = CASE state WHEN 'intended' THEN 'loading' ELSE state"
                " END WHERE label = ?",
                (contract, order.label),
            )
            ledger.event(self._db, now, f"ordered: contract {contract}", order.label)

    def _never_was(self, now: float, label: str, reason: str) -> None:
        ledger.update(self._db, label, state="ended", ended=now, reason=reason)
        ledger.event(self._db, now, f"not ordered: {reason}", label)

    def _came_to_nothing(
        self, now: float, why: str, machine: int | None = None, *, pauses: bool = False
    ) -> None:
        """Leave the machine out for a while; after several in a row, wait for longer each time."""
        if machine is not None:
            self._left_out[machine] = now + max(LEFT_OUT_SECONDS, 2 * self._pause)
        self._in_a_row += 1
        if pauses or self._in_a_row >= IN_A_ROW:
            self.pause(now + self._pause, why)
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
