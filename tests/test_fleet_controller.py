"""The controller on the simulated market: what it rents, what it ends, what it does when things go wrong."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from mediaflow.fleet import ledger
from mediaflow.fleet.journal import Journal
from mediaflow.fleet.labels import Labels, labels_here
from mediaflow.fleet.market import Charge, Instance, MarketError, OfferGone, Order, OrderUncertain, Refused
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.simulator.arrivals import HOUR
from mediaflow.fleet.spending import day_start, spending
from tests.market import Scene
from tests.world import World


def refuse(world: World, error: MarketError, times: int) -> list[int]:
    """Answer the first orders with an error; the offers that are ordered from now on."""
    order, asked = world.trade.order, []

    def answer(wish: Order) -> int:
        asked.append(wish.offer)
        if len(asked) <= times:
            raise error
        return order(wish)

    world.trade.order = answer  # type: ignore[method-assign]
    return asked


def cut_off(world: World, minutes: float) -> None:
    """Let this machine have no network for a while."""
    door = world.trade._door

    def unanswered() -> None:
        raise MarketError("no network")

    world.connected, world.trade._door = False, unanswered  # type: ignore[method-assign]
    world.go_on(minutes)
    world.connected, world.trade._door = True, door  # type: ignore[method-assign]


def blamed(world: World) -> set[int]:
    """The machines that are left alone because a box of theirs failed."""
    return {row[0] for row in world.db.execute("SELECT machine FROM blocks")}


def test_nothing_is_rented_while_nothing_waits() -> None:
    world = World()
    world.go_on(120)
    assert not world.all_boxes()
    assert not world.account.boxes


def test_nothing_is_rented_for_what_this_machine_does_in_time() -> None:
    world = World()
    world.submit(5000)
    world.until(world.is_over)
    assert not world.account.boxes


def test_what_this_machine_cannot_do_in_time_is_done_in_time_and_nothing_is_left() -> None:
    world = World()
    world.submit()
    world.until(world.is_over)
    (run,) = world.work.runs
    assert run.finished is not None
    assert run.finished <= run.deadline
    assert world.account.boxes
    assert all(box.state == "ended" for box in world.all_boxes())


def test_a_box_is_written_down_before_it_is_ordered() -> None:
    world = World()
    world.submit()
    order, seen = world.trade.order, []

    def looked_at(wish: Order) -> int:
        seen.append(ledger.box(world.db, wish.label))
        return order(wish)

    world.trade.order = looked_at  # type: ignore[method-assign]
    world.until(lambda: world.known("loading"))
    (box,) = seen
    assert box is not None
    assert (box.state, box.contract) == ("intended", None)


REFUSALS = [OfferGone("no_such_ask"), Refused("this one not"), OrderUncertain("refused", contract=1)]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_machine_that_is_offered_and_cannot_be_had_is_left_out_and_another_is_taken(
    refusal: MarketError,
) -> None:
    world = World()
    asked = refuse(world, refusal, times=1)
    world.submit()
    world.until(lambda: world.known("working"))
    assert len(asked) == 2
    assert asked[0] != asked[1]


def test_where_no_offer_can_be_had_orders_become_seldom_and_it_is_said_why() -> None:
    world = World()
    asked = refuse(world, OfferGone("no_such_ask"), times=10_000)
    world.submit(400_000)
    world.go_on(24 * 60)
    assert 3 < len(asked) < 40
    assert "no_such_ask" in world.desire.why


def test_an_order_that_could_not_be_sent_made_no_box_and_is_made_anew_soon() -> None:
    world = World()
    asked = refuse(world, MarketError("no connection"), times=2)
    world.submit(400_000)  # late already
    world.until(lambda: world.known("working"))
    assert len(asked) >= 3
    assert [box.reason for box in world.all_boxes()[:2]] == ["no connection"] * 2
    assert world.all_boxes()[2].intended - world.all_boxes()[0].intended < 120


def test_nothing_is_rented_while_no_gateway_runs_and_something_is_as_soon_as_it_does() -> None:
    world = World()
    world.serves = False
    world.submit(400_000)  # late already
    world.go_on(60)
    assert not world.all_boxes()
    assert "gateway does not run" in world.desire.why
    assert "gateway does not run" in str(ledger.fact(world.db, "trouble"))
    world.serves = True
    world.step()
    assert world.all_boxes()


def test_a_box_that_could_not_say_hello_for_want_of_a_gateway_is_ended_without_blame() -> None:
    world = World()
    world.submit()
    (box,) = world.until(lambda: world.known("loading"))
    world.serves = False
    world.until(lambda: box.label not in {each.label for each in world.known()}, 1)
    assert not blamed(world)


@pytest.mark.parametrize("seconds", [60, 140, 300])
def test_boxes_that_were_silent_while_this_machine_was_cut_off_go_on(seconds: float) -> None:
    world = World()
    world.submit(300_000)
    world.until(lambda: sum(box.done > 0 for box in world.known("working")) == 3)
    before = {box.label for box in world.known("working")}
    cut_off(world, seconds / 60)
    world.go_on(5)
    assert before & {box.label for box in world.known("working")}
    assert not any("has said nothing" in what for what in world.events())
    assert not blamed(world)


def test_boxes_that_ended_themselves_while_this_machine_was_off_are_not_blamed() -> None:
    world = World()
    world.submit(300_000)
    world.until(lambda: len(world.known("working")) == 3)
    before = {box.label for box in world.known()}
    world.go_on(15, ticks=False)
    assert not world.real()
    world.begin()
    world.go_on(5)
    assert not before & {box.label for box in world.known()}
    assert not blamed(world)


def test_boxes_that_are_silent_all_at_once_are_ended_without_blame() -> None:
    world = World()
    world.submit(300_000)
    world.until(lambda: len(world.known("working")) == 3)
    before = {box.label for box in world.known()}
    world.connected = False  # the market can be reached
    world.until(lambda: not before & {box.label for box in world.known("working")}, 1)
    assert not blamed(world)


def test_a_box_that_alone_is_silent_is_ended_and_its_machine_blamed() -> None:
    world = World()
    world.submit(300_000)
    world.until(lambda: len(world.known("working")) == 3)
    box = world.known()[0]
    world.boxes._ran.clear()
    live = world.boxes._live
    world.boxes._live = lambda rented, *rest: (  # type: ignore[method-assign]
        None if rented.label == box.label else live(rented, *rest)
    )
    world.until(lambda: box.label not in {each.label for each in world.known("working")}, 1)
    assert blamed(world) == {box.machine}


def test_of_an_order_carried_out_twice_whose_answer_was_lost_one_box_is_kept() -> None:
    scene = Scene()
    scene.market.twice = True
    scene.tick(2)
    (contract,) = scene.market.rented
    assert [box.contract for box in scene.boxes()] == [contract]
    scene.tick(60, 10)
    assert list(scene.market.rented) == [contract]
    assert not scene.blamed()


@pytest.mark.parametrize("again", [False, True], ids=["going on", "started again"])
@pytest.mark.parametrize("back", [5.0, 7200.0])
def test_a_clock_that_is_set_back_keeps_nothing_from_being_seen_and_makes_nothing_younger(
    back: float, again: bool
) -> None:
    scene = Scene()
    for _ in range(30):
        scene.tick(1, 10)
        scene.hear(done=1, worked=scene.now, in_hand=5)
    scene.tick()
    (before,) = scene.boxes()
    assert before.running is not None
    lists, ran = scene.market.lists, scene.now - before.running
    scene.now -= back
    if again:
        scene.begin()
    scene.tick(2)
    assert scene.market.lists == lists + 2
    (box,) = scene.boxes()
    assert box.state == "working"
    assert box.running is not None
    assert ran <= scene.now - box.running < ran + 60
    assert box.lease - scene.now <= scene.settings.silence_minutes * 60
    assert box.expires - box.intended == before.expires - before.intended
    assert ledger.fact(scene.db, "beat") <= scene.now
    scene.market.rented.clear()
    for _ in range(30):
        scene.tick(1, 10)
    assert before.label not in {box.label for box in scene.boxes()}


def test_where_nobody_hands_out_what_waits_boxes_become_seldom_until_one_has_a_result() -> None:
    scene = Scene()
    for _ in range(12 * 60):
        scene.tick(12, 10)
        scene.hear()
    assert 3 <= len(scene.market.ordered) <= 10
    assert "nothing to do" in scene.desire.why
    count = len(scene.market.ordered)
    label = scene.boxes(ended=True)[-1].label
    ledger.update(scene.db, label, worked=scene.now, done=1)
    scene.tick()
    assert len(scene.market.ordered) == count + 1


def test_after_boxes_that_failed_one_after_another_there_are_pauses_that_grow() -> None:
    scene = Scene()
    for _ in range(24 * 60):
        scene.tick(6, 10)
        for box in scene.boxes():
            ledger.update(scene.db, box.label, trouble="no GPU")
    assert 5 <= len(scene.market.ordered) <= 12
    assert "failed" in scene.desire.why


def test_boxes_that_were_ended_while_they_loaded_are_no_failures() -> None:
    scene = Scene(caps={"boxes": 3, "per_day": 60, "per_month": 600})
    scene.items = 200_000
    scene.tick(10)
    assert len(scene.market.rented) == 3
    scene.controller.hold = "down"
    scene.tick(5)
    assert not scene.market.rented
    scene.begin(caps={"boxes": 3, "per_day": 60, "per_month": 600})
    scene.tick(3)
    assert scene.market.rented


def test_nothing_is_ordered_for_a_backlog_that_cannot_be_read_and_it_is_said() -> None:
    scene = Scene()
    scene.known = False
    scene.tick(3)
    assert not scene.market.ordered
    assert "catalog cannot be read" in ledger.fact(scene.db, "trouble")
    scene.known = True
    scene.tick()
    assert scene.market.ordered
    assert not ledger.fact(scene.db, "trouble")


def test_a_charge_without_a_label_counts_for_the_box_of_its_contract() -> None:
    scene = Scene()
    scene.tick()
    (box,) = scene.boxes()
    assert box.contract is not None
    theirs = Charge(99, "", day_start(scene.now), 50.0)
    scene.market.charged = [Charge(box.contract, "", day_start(scene.now), 2.0), theirs]
    scene.tick()
    assert spending(scene.db, scene.now).day == 2.0
    assert scene.boxes()[0].charged == 2.0


def test_where_what_was_paid_cannot_be_seen_it_is_said_and_the_credit_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    scene.tick()

    def unanswered(_since: float) -> list[Charge]:
        raise MarketError("no answer")

    monkeypatch.setattr(scene.market, "charges", unanswered)
    scene.tick()
    assert "What was paid cannot be seen" in ledger.fact(scene.db, "trouble")
    assert ledger.fact(scene.db, "credit") == 50.0


@pytest.mark.parametrize("caps", [{"boxes": 1}, {"boxes": 3, "price_per_hour": 0.115}])
def test_boxes_beyond_caps_that_were_lowered_meanwhile_are_released_the_dearest_first(
    caps: dict[str, float],
) -> None:
    scene = Scene(caps={"boxes": 3, "per_day": 60, "per_month": 600})
    scene.items = 200_000
    scene.tick(5)
    assert len(scene.boxes()) == 3
    scene.begin(caps={"per_day": 60, "per_month": 600, **caps})
    scene.tick(20)
    assert {box.price for box in scene.boxes()} == {0.11}
    assert len(scene.boxes()) <= caps["boxes"]


def test_what_a_box_that_cannot_be_ended_may_cost_is_kept_of_the_budget() -> None:
    scene = Scene(caps={"boxes": 2, "per_day": 60, "per_month": 600})
    scene.items = 200_000
    scene.tick(5)
    stuck, other = scene.boxes()
    assert stuck.contract is not None
    scene.market.stuck.add(stuck.contract)
    ledger.update(scene.db, stuck.label, state="ending")
    # Enough for the lease of one.
    scene.begin(caps={"boxes": 2, "per_day": 0.046, "per_month": 600})
    scene.tick(4)
    found = ledger.box(scene.db, other.label)
    assert found is not None
    assert found.reason == "the budget is spent"


def test_what_nobody_wanted_is_told_once_and_destroyed_once_while_the_list_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    contract = scene.market.rent(scene.labels.make("lost"))
    calls: list[int] = []
    monkeypatch.setattr(scene.market, "destroy", calls.append)
    scene.tick(3)
    assert calls == [contract] * 3  # it is listed still

    def unanswered() -> list[Instance]:
        raise MarketError("no answer")

    monkeypatch.setattr(scene.market, "instances", unanswered)
    scene.tick(5)
    assert calls == [contract] * 3
    told = scene.db.execute("SELECT COUNT(*) FROM events WHERE what LIKE 'destroyed%'").fetchone()[0]
    assert told == 1


def test_what_nobody_wanted_is_looked_for_at_every_tick_until_it_is_gone() -> None:
    scene = Scene()
    scene.items = 0
    contract = scene.market.rent(scene.labels.make("lost"))
    found = scene.market.rented[contract]
    scene.tick()
    scene.market.rented[contract] = found  # the market said that it would be gone
    scene.tick()
    assert not scene.market.rented


def test_troubles_that_take_turns_are_one_event_each() -> None:
    with closing(ledger.open_ledger(":memory:")) as db:
        journal = Journal(db)
        for second in range(100):
            journal.in_trouble(second, "this")
            journal.in_trouble(second, "that")
        assert [row[0] for row in db.execute("SELECT what FROM events")] == ["this", "that"]


def test_what_could_not_be_written_down_is_told_again() -> None:
    with closing(ledger.open_ledger(":memory:")) as db:
        journal = Journal(db)
        db.execute("PRAGMA query_only = ON")
        with pytest.raises(sqlite3.Error):
            journal.tell(1.0, {"why": "something"})
        db.execute("PRAGMA query_only = OFF")
        journal.tell(2.0, {"why": "something"})
        assert ledger.fact(db, "why") == "something"


def test_two_installations_with_one_name_and_one_account_leave_each_others_boxes_alone() -> None:
    one = Scene(secret=b"one")
    other = Scene(secret=b"other", market=one.market)
    for _ in range(60):
        one.tick()
        other.tick()
    assert len(one.market.rented) == 2
    assert not one.market.destroyed
    told = [row[0] for row in one.db.execute("SELECT what FROM events WHERE what LIKE '%not of this home%'")]
    assert len(told) == 1


def test_charges_of_another_installation_with_this_name_are_not_ours() -> None:
    one, other = Scene(secret=b"one"), Scene(secret=b"other")
    one.tick()
    one.market.charged = [Charge(99, other.labels.make("theirs"), day_start(one.now), 50.0)]
    one.tick()
    assert spending(one.db, one.now).day < 1


def test_a_home_whose_ledger_is_lost_still_ends_the_boxes_that_it_ordered() -> None:
    before = Scene(secret=b"one")
    before.tick(2)
    assert before.market.rented
    after = Scene(secret=b"one", market=before.market)
    after.items = 0
    after.tick(2)
    assert not before.market.rented


def test_the_secret_of_a_home_stays_the_same_and_is_for_its_owner_only(home: Path) -> None:
    settings = FleetSettings()
    label = labels_here(settings, new=True).make("a token")
    (path,) = (home / "gateway").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(ledger.open_ledger(":memory:")) as db:
        assert labels_here(settings).is_own(label, db)
        assert labels_here(settings, new=True).is_own(label, db)
        path.unlink()
        assert not labels_here(settings).is_own(label, db)
    assert not path.exists()  # whoever only looks makes none


pytestmark = pytest.mark.slow
FAULTS = (
    "late twice gone stuck exited offline outbid slow silent wrong empty stale 429 5xx outage credit".split()
)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_market_or_of_a_box_costs_neither_the_deadline_nor_a_leak(fault: str) -> None:
    world = World(**{fault: 1})
    world.submit()
    world.until(world.is_over, 20)
    (run,) = world.work.runs
    assert run.finished is not None
    assert run.finished <= run.deadline
    world.go_on(60)
    assert not world.real()


@pytest.mark.parametrize("fault", ["stuck", "exited", "offline", "silent"])
def test_a_box_that_failed_is_replaced_by_one_of_another_machine_and_its_host_left_alone(fault: str) -> None:
    world = World(**{fault: 1})
    world.submit()
    world.until(world.is_over, 20)
    ((machine, until),) = world.db.execute("SELECT machine, until FROM blocks").fetchall()
    (failed,) = [box for box in world.all_boxes() if box.machine == machine]
    assert failed.ended is not None
    assert until > failed.ended + HOUR
    later = [box for box in world.all_boxes() if box.intended > failed.ended]
    assert all(box.machine != machine for box in later)


def test_an_order_whose_answer_was_lost_is_not_repeated_and_its_box_is_adopted() -> None:
    world = World(late=1)
    world.submit()
    world.until(lambda: world.known("working"))
    assert len(world.account.boxes) == len(world.all_boxes()) == 1
    assert any(what.startswith("adopted") for what in world.events())


def test_an_order_that_came_to_nothing_is_ended_after_a_while() -> None:
    world = World()
    world.submit()
    world.until(lambda: world.known())
    box = world.known()[0]
    # As if this process had been killed between writing down and ordering.
    world.account.destroy(world.now, world.real()[0].contract)
    ledger.update(world.db, box.label, state="intended", contract=None)
    world.begin()
    world.go_on(5)
    assert box.label in {each.label for each in world.known("intended")}
    world.until(lambda: box.label not in {each.label for each in world.known()}, 1)


def test_of_an_order_carried_out_twice_one_box_is_ended_at_once() -> None:
    world = World(twice=1)
    world.submit()
    world.until(lambda: len(world.account.boxes) == 2)
    world.go_on(2)
    assert len(world.real()) == len(world.known()) == 1
    assert world.real()[0].contract == world.known()[0].contract


def test_an_empty_list_is_not_believed_and_nothing_is_ordered_meanwhile() -> None:
    world = World()
    world.submit()
    world.until(lambda: world.known("working"))
    before = {box.label for box in world.known()}
    world.trade.instances = list  # type: ignore[method-assign]
    world.go_on(0.6)
    assert {box.label for box in world.known()} == before
    assert len(world.account.boxes) == len(before)
    assert "lists no box at all" in str(ledger.fact(world.db, "trouble"))


def test_a_box_that_ended_and_a_box_that_nobody_knows_are_destroyed_when_they_are_listed() -> None:
    world = World()
    offer = world.trade.offers()[0]
    world.trade.order(Order(offer.id, Labels("mediaflow-home-").make("lost"), "image", 20, {}))
    other = world.trade.offers()[0]
    world.trade.order(Order(other.id, "mediaflow-elsewhere-theirs", "image", 20, {}))
    world.go_on(2)
    assert [box.label for box in world.real()] == ["mediaflow-elsewhere-theirs"]


def test_a_controller_that_starts_again_takes_up_the_boxes_that_it_finds() -> None:
    world = World()
    world.submit()
    world.until(lambda: world.known("working"))
    before = {box.contract for box in world.known()}
    world.begin()
    world.go_on(3)
    assert {box.contract for box in world.known("working")} == before == {b.contract for b in world.real()}


@pytest.mark.parametrize("after", range(0, 30, 3))
def test_a_controller_killed_at_any_tick_and_started_again_loses_nothing(after: int) -> None:
    world = World()
    world.submit()
    world.until(lambda: world.known())
    for _ in range(after):
        world.step()
    world.begin()
    world.until(world.is_over, 20)
    assert Counter(box.ended is None for box in world.account.boxes.values())[True] == 0
    (run,) = world.work.runs
    assert run.finished is not None
    assert run.finished <= run.deadline


def test_boxes_outlive_a_controller_that_died_by_their_leases_only() -> None:
    world = World()
    world.submit()
    world.until(lambda: world.known("working"))
    world.go_on(world.settings.silence_minutes + 1, ticks=False)
    assert not world.real()


def test_a_box_is_drained_before_it_is_ended() -> None:
    world = World()
    world.submit()
    world.until(world.is_over)
    words = [what.split(":")[0] for what in world.events()]
    assert words.index("draining") < words.index("ending") < words.index("ended")


@pytest.mark.parametrize("caps", [{"per_day": 0.15}, {"per_month": 0.15}])
def test_the_budget_is_never_exceeded_and_what_is_left_is_done_here(caps: dict[str, float]) -> None:
    world = World()
    world.begin(caps=caps)
    world.submit(400_000)
    world.go_on(20 * 60)
    paid = sum(dollars for box in world.account.boxes.values() for dollars in box.dollars.values())
    assert 0 < paid <= 0.15
    assert spending(world.db, world.now).month <= 0.15
    assert not world.real()
    assert ledger.fact(world.db, "fallback") == "here"
    assert "budget" in world.desire.why


def test_no_more_boxes_than_the_cap_and_none_that_costs_more() -> None:
    world = World()
    world.begin(caps={"boxes": 2, "price_per_hour": 0.15})
    world.submit(300_000)
    most = 0
    for _ in range(400):
        world.step()
        most = max(most, len(world.real()))
    assert most == 2
    assert all(box.price <= 0.15 for box in world.account.boxes.values())


def test_a_box_does_not_live_longer_than_it_may() -> None:
    world = World()
    world.begin(caps={"hours": 1})
    world.submit(400_000)
    world.go_on(4 * 60)
    assert len(world.account.boxes) > 1
    lives = [(box.ended or world.now) - box.ordered for box in world.account.boxes.values()]
    assert max(lives) <= HOUR + 60


def test_boxes_stand_on_different_hosts() -> None:
    world = World()
    world.submit(300_000)
    world.until(lambda: len(world.known()) == world.settings.caps.boxes)
    assert len({box.host for box in world.known()}) == world.settings.caps.boxes


def test_without_credit_the_work_goes_on_here_and_boxes_come_when_there_is_some() -> None:
    world = World(credit=0.0)
    world.submit()
    world.until(lambda: ledger.fact(world.db, "trouble"))
    assert "credit" in str(ledger.fact(world.db, "trouble"))
    assert ledger.fact(world.db, "fallback") == "here"
    assert not world.real()
    world.account._credit = 50.0
    world.until(lambda: world.known("working"), 8)
    assert ledger.fact(world.db, "trouble") == ""
    world.step()
    assert ledger.fact(world.db, "fallback") == ""


@pytest.mark.parametrize("hold", ["drain", "down"])
def test_on_hold_all_boxes_go_and_none_comes(hold: str) -> None:
    world = World()
    world.submit()
    world.until(lambda: world.known("working"))
    ledger.put_fact(world.db, "hold", hold, world.now)
    world.until(lambda: not world.real() and not world.known(), 1)
    count = len(world.account.boxes)
    world.go_on(30)
    assert len(world.account.boxes) == count
    ledger.put_fact(world.db, "hold", "", world.now)
    world.until(lambda: world.known("working"), 8)


def test_a_liar_that_somebody_else_marked_is_ended() -> None:
    world = World()
    world.submit()
    (box,) = world.until(lambda: world.known("working"))
    ledger.update(world.db, box.label, state="ending", reason="what it found is not true")
    world.until(lambda: box.contract not in {each.contract for each in world.real()}, 0.1)
