"""The controller: at each tick the boxes that are there become those that are wanted, within the caps.

It is a function of the ledger, the market's list, the backlog and the time: it never sleeps, never asks what
time it is, and what it remembers beside the ledger may be lost. So it can be killed anywhere, and it runs in
simulated time as it does in real time.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace

from mediaflow.fleet import clock, fruitless, hosts, ledger
from mediaflow.fleet.backlog import Backlog
from mediaflow.fleet.cost import Estimate, Scale, fitting, learned_scale
from mediaflow.fleet.health import Pace, Verdict, silence, silence_limit, verdict
from mediaflow.fleet.hearing import Hearing
from mediaflow.fleet.journal import Journal
from mediaflow.fleet.labels import Labels, label_prefix
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.listing import MISSING_SECONDS, UNCERTAIN_SECONDS, Listing
from mediaflow.fleet.market import Market, MarketError, Offer
from mediaflow.fleet.ordering import Environment, Ordering
from mediaflow.fleet.policies import Desire, Policy, Situation, by_deadline
from mediaflow.fleet.removal import Removal
from mediaflow.fleet.resumption import resumes
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.speeds import Speeds
from mediaflow.fleet.spending import (
    DRAIN_SECONDS,
    Spending,
    over_budget,
    over_caps,
    refusal,
    spending,
    still,
    write_charges,
)

# The list is looked at so seldom while nothing is rented; charges and credit are asked for so often.
IDLE_LOOK_SECONDS = 600.0
ACCOUNT_SECONDS = 600.0
OFFERS_SECONDS = 45.0
# After the last box has ended, it is looked for at every tick for a while.
WATCHED_SECONDS = 900.0
NO_GATEWAY = "This machine's gateway does not run, and boxes could not reach it (mediaflow up starts it)."
NO_CATALOG = "The catalog cannot be read: what waits is taken to be as it was, and nothing more is ordered."
# Below this many dollars of credit nothing is ordered.
LEAST_CREDIT = 0.5


class Controller:
    """Rents and ends boxes on a market, and writes it all into the ledger.

    `environment` makes the variables of a box of its label and its token; `secret` makes a token; `serves`
    says whether this machine's gateway runs; `labels` are those of this home.
    """

    def __init__(
        self,
        market: Market,
        db: sqlite3.Connection,
        settings: FleetSettings,
        *,
        environment: Environment = lambda _label, _token: {},
        secret: Callable[[], str] = secrets.token_urlsafe,
        policy: Policy = by_deadline,
        serves: Callable[[], bool] = lambda: True,
        labels: Labels | None = None,
    ) -> None:
        self._market, self._db, self._settings = market, db, settings
        self._environment, self._secret = environment, secret
        self._policy, self._serves = policy, serves
        self._labels = labels or Labels(label_prefix(settings))
        # drain, or down: nothing is ordered, and what is there goes, as with the fact `hold` of the ledger.
        self.hold = ""
        self._last = float(ledger.fact(db, "beat") or "-inf")
        self._forget()

    def _forget(self) -> None:
        """As when it was just begun."""
        self._journal = Journal(self._db)
        self._listing = Listing(self._labels)
        self._ordering = Ordering(
            self._market,
            self._db,
            self._settings,
            self._journal,
            self._labels,
            self._environment,
            self._secret,
        )
        self._hearing = Hearing(self._serves, silence_limit(self._settings) / 2)
        self._pace = Pace()
        self._removal = Removal(self._market, self._db, self._listing, self._journal)
        self._offers: tuple[float, Sequence[Offer]] = (float("-inf"), ())
        self._known = True
        self._account_at = float("-inf")
        self._watched_until = float("-inf")

    def tick(self, now: float, backlog: Backlog) -> Desire:
        """Look, judge, decide, and do it. Errors of the market are told in the ledger, not raised."""
        if now < self._last:
            clock.set_back(self._db, self._last - now, now)
            self._forget()
        self._last = now
        boxes = ledger.boxes(self._db)
        # Also once more after the catalog could not be read: that trouble is over.
        known, self._known = backlog.current and self._known, backlog.current
        if (
            known
            and not boxes
            and not backlog.waiting
            and now - self._listing.at < self._look_seconds(now, boxes, backlog)
        ):
            desire = Desire("Nothing waits.")
            self._tell(now, backlog, desire, boxes)
            return desire
        if self._ordering.paused(now) is None:
            self._journal.trouble = ""
        if not backlog.current:
            self._journal.in_trouble(now, NO_CATALOG)
        self._look(now, boxes, backlog)
        if boxes or backlog.waiting:
            self._hearing.look(now, boxes, listed=self._listing.at == now)
            if not self._hearing.served and not self.hold:
                self._journal.in_trouble(now, NO_GATEWAY)
        self._judge(now, ledger.boxes(self._db))
        boxes = ledger.boxes(self._db)
        spent = spending(self._db, now) if boxes or backlog.waiting else Spending(0, 0)
        desire = self._decide(now, boxes, backlog, spent)
        self._removal.destroy(now, ledger.boxes(self._db))
        self._renew(now, ledger.boxes(self._db), spent)
        self._tell(now, backlog, desire, ledger.boxes(self._db), spent)
        return desire

    # --- what is there ---

    def _look_seconds(self, now: float, boxes: Sequence[Box], backlog: Backlog) -> float:
        watched = boxes or backlog.waiting or self._removal.strays or self.hold or now < self._watched_until
        return 0.0 if watched else IDLE_LOOK_SECONDS

    def _look(self, now: float, boxes: Sequence[Box], backlog: Backlog) -> None:
        """Ask for the list, and now and then for what was paid; what cannot be known stays as it was."""
        if now - self._listing.at < self._look_seconds(now, boxes, backlog):
            return
        try:
            instances = self._market.instances()
            if self._listing.is_odd(instances, boxes):
                raise MarketError("The market lists no box at all, and some were there.")
            self._removal.strays = self._listing.enter(self._db, instances, boxes, now)
            if self._removal.strays:  # whether they have gone is to be seen
                self._watched_until = now + WATCHED_SECONDS
            # While all boxes are to end, every second counts that a question takes.
            is_due = now - self._account_at > ACCOUNT_SECONDS and self.hold != "down"
            if is_due and (boxes or self._watched_until > now):
                self._account_at = now
                self._ask_account(now)
        except MarketError as error:
            self._journal.in_trouble(now, f"What is rented cannot be seen: {error}")

    def _ask_account(self, now: float) -> None:
        """The one without the other where one of them cannot be known."""
        try:
            write_charges(self._db, self._market.charges(now - 3 * 86400), self._labels, now)
        except MarketError as error:
            self._journal.in_trouble(now, f"What was paid cannot be seen, and is estimated: {error}")
        try:
            ledger.put_fact(self._db, "credit", self._market.credit(), now)
        except MarketError as error:
            self._journal.in_trouble(now, f"How much credit is left cannot be seen: {error}")

    # --- what is wrong ---

    def _judge(self, now: float, boxes: Sequence[Box]) -> None:
        """Mark boxes that are no good, and those that are over."""
        audible = self._hearing.since(now)
        greeted = [box for box in boxes if box.hello is not None and box.state in ("working", "draining")]
        limit = silence_limit(self._settings)
        # What silences all of them is not the fault of one.
        all_silent = len(greeted) > 1 and all(silence(box, now) > limit for box in greeted)
        for box in boxes:
            if box.state == "ending":
                if self._removal.is_over(box, now):
                    self._ended(now, box, box.reason or "nothing came of the order")
                continue
            missing = self._listing.is_missing(box.label, now, seconds=MISSING_SECONDS)
            if box.contract is None:
                if missing and now - box.intended > UNCERTAIN_SECONDS:
                    self._ended(now, box, "nothing came of the order")
                continue
            found = verdict(
                box,
                self._listing.now.get(box.label),
                self._listing.unchanged(box.label, now),
                now,
                self._settings,
                audible,
            )
            if found is None and missing:
                found = Verdict("the market lists it no more")
            if found is None and box.state == "working":
                found = self._pace.look(box, now)
            if found is not None:
                if all_silent or self._hearing.lapsed(box):
                    found = replace(found, strike=False)
                self._give_up(now, box, found)
            elif box.state == "draining" and self._removal.is_drained(box, now):
                self._change(now, box, "ending", box.reason or "drained")

    def _give_up(self, now: float, box: Box, found: Verdict) -> None:
        if found.strike:
            hosts.strike(self._db, box.machine, box.host, found.reason, now)
            if not box.done:
                fruitless.note(self._db, box.label, now, idle=False)
        self._change(now, box, "ending", found.reason)

    def _ended(self, now: float, box: Box, reason: str) -> None:
        ledger.update(self._db, box.label, state="ended", ended=now, reason=reason)
        ledger.event(self._db, now, f"ended: {reason}", box.label)
        self._db.execute("DELETE FROM facts WHERE name = ?", (f"drain {box.label}",))
        self._removal.forget(box.label)
        self._pace.forget(box.label)
        self._watched_until = now + WATCHED_SECONDS

    def _change(self, now: float, box: Box, state: str, reason: str) -> None:
        """Set a box's state; what has come nearer to its end meanwhile stays there."""
        if state == "draining":
            ledger.put_fact(self._db, f"drain {box.label}", {"since": now}, now)
        ledger.turn(self._db, box.label, state, reason, now)

    # --- what is wanted ---

    def _decide(self, now: float, boxes: list[Box], backlog: Backlog, spent: Spending) -> Desire:
        hold = self.hold or ledger.fact(self._db, "hold") or ""
        wanted = [box for box in boxes if box.state in ("intended", "loading", "working")]
        if hold:
            for box in boxes if hold == "down" else wanted:
                if box.state != "ending":
                    state = "draining" if hold == "drain" and box.hello is not None else "ending"
                    self._change(now, box, state, f"asked for: mediaflow fleet {hold}")
            return Desire(f"Nothing is rented until `mediaflow fleet resume` (`fleet {hold}`).")
        owed = self._owed(now, boxes)
        for box in over_budget(spent, wanted, self._settings, owed, DRAIN_SECONDS):
            self._release(now, box, "the budget is spent")
            wanted.remove(box)
        for box in over_caps(wanted, self._settings):
            self._release(now, box, "the caps were lowered")
            wanted.remove(box)
        for box in list(wanted):
            if box.expires - now < DRAIN_SECONDS:
                self._release(now, box, "it has lived as long as a box may")
                wanted.remove(box)
        situation = self.situation(now, backlog, wanted)
        try:
            desire = self._policy(situation)
        except MarketError as error:
            self._journal.in_trouble(now, f"What is offered cannot be seen: {error}")
            return Desire("The market does not say what it offers.")
        for box in wanted:
            if box.label in desire.release:
                self._release(now, box, "not needed any more")
                self._note_idle(now, box, backlog, desire)
        if desire.order is not None:
            why = self._why_not(now, boxes, backlog, desire.order, spent)
            if why is None:
                self._offers = (float("-inf"), ())
                self._ordering.place(now, desire.order)
            else:
                return Desire(f"{desire.why} Nothing is ordered: {why}.", None, (), desire.candidates)
        return desire

    def situation(self, now: float, backlog: Backlog, boxes: Sequence[Box]) -> Situation:
        """What the policy decides by; `boxes` are those that load or work."""
        waits = bool(backlog.waiting)
        return Situation(
            now=now,
            backlog=backlog,
            settings=self._settings,
            speeds=Speeds(ledger.rates(self._db)) if waits else Speeds(),
            boxes=boxes,
            offers=lambda: self.offers(now),
            resumes=resumes(self._settings.fallback, backlog, now),
            scale=learned_scale(self._db) if waits else Scale(),
            audible=self._hearing.since(now),
        )

    def offers(self, now: float) -> list[Offer]:
        """What can be rented, fits the settings, and is not blocked. Raises MarketError."""
        if now - self._offers[0] > OFFERS_SECONDS:
            self._offers = (now, self._market.offers())
        machines, bad_hosts = hosts.blocked(self._db, now)
        machines |= self._ordering.left_out(now)
        return fitting(self._offers[1], self._settings, machines, bad_hosts)

    def _note_idle(self, now: float, box: Box, backlog: Backlog, desire: Desire) -> None:
        """A box that found nothing to do although something waits: the next would not either."""
        if box.hello is None or box.in_hand:
            return
        idle = now - max(box.worked or 0.0, box.hello)
        if not box.done and idle > self._settings.idle_minutes * 60 and backlog.total(ready=True):
            fruitless.note(self._db, box.label, now, idle=True)
        if desire.order is None and idle > 60:
            self._ordering.pause(now + fruitless.IDLE_SECONDS, "a box has just had nothing to do")

    def _release(self, now: float, box: Box, reason: str) -> None:
        """Let a box finish what it has in hand; one that has not begun ends at once."""
        self._change(now, box, "draining" if box.hello is not None else "ending", reason)

    def _why_not(
        self, now: float, boxes: Sequence[Box], backlog: Backlog, wish: Estimate, spent: Spending
    ) -> str | None:
        if (paused := self._ordering.paused(now)) is not None:
            return paused
        if not backlog.current:
            return "what waits cannot be read now"
        if not self._hearing.served:
            return "this machine's gateway does not run"
        if self._listing.at < now:
            return "it is not known what is rented"
        return self.refusal(now, boxes, wish, spent)

    def refusal(self, now: float, boxes: Sequence[Box], wish: Estimate, spent: Spending) -> str | None:
        """Why the ledger and the caps forbid an order now; None where they do not. `fleet plan` asks too."""
        if (credit := ledger.fact(self._db, "credit")) is not None and credit < LEAST_CREDIT and boxes:
            return f"the account has {credit:.2f} $ left"
        if (why := fruitless.pause(self._db, now)) is not None:
            return why
        needed = min(wish.start.warm + wish.work, 1800.0)
        return refusal(spent, boxes, wish.price, wish.offer.traffic_in, needed, self._settings)

    # --- what is done ---

    def _renew(self, now: float, boxes: Sequence[Box], spent: Spending) -> None:
        """Renew the leases of boxes that may go on; those for which the budget has no room end now."""
        alive = [box for box in boxes if box.state not in ("ending", "ended")]
        owed = self._owed(now, boxes)
        over = {box.label for box in over_budget(spent, alive, self._settings, owed)}
        for box in alive:
            if box.label in over:
                self._change(now, box, "ending", "the budget is spent")
                continue
            lease = min(now + self._settings.silence_minutes * 60, box.expires)
            if lease > box.lease:
                ledger.update(self._db, box.label, lease=lease)

    def _owed(self, now: float, boxes: Sequence[Box]) -> float:
        """Dollars that boxes which cannot be ended may still cost."""
        return sum(still(box.price, box.lease - now) for box in boxes if self._removal.lingers(box))

    # --- what is told ---

    def _tell(
        self,
        now: float,
        backlog: Backlog,
        desire: Desire,
        boxes: Sequence[Box],
        spent: Spending | None = None,
    ) -> None:
        """Say in the ledger what is done and why, where it has changed."""
        works = any(box.state == "working" for box in boxes)
        resumption = resumes(self._settings.fallback, backlog, now)
        fallback = ""
        if backlog.waiting and not works:
            fallback = "waits" if resumption > now else "here"
        said: dict[str, object] = {
            "why": desire.why,
            "fallback": fallback,
            "resumes": resumption if resumption > now else None,
        }
        self._journal.tell(now, said)
