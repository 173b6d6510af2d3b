"""Cost: what an offer is expected to cost for some work, with start, disk, traffic and failures."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mediaflow.fleet.market import Offer
from mediaflow.fleet.settings import FleetSettings
from mediaflow.fleet.speeds import HERE, Speeds

# Guesses: gigabytes of the image and of the models, and the seconds that starting takes beside fetching them.
IMAGE_GB, MODELS_GB = 6.0, 1.2
LOAD_SECONDS, WARM_SECONDS = 40.0, 50.0
USABLE_MBPS = 1000.0
# A box is paid for a little longer than it works: until its last items are answered and its end is seen.
TAIL_SECONDS = 60.0
# A guess of what is sent to a box for an item, in megabytes.
ITEM_MB = 0.3
# What boxes say of it, by what they fetch and answer, is believed up to here.
MOST_ITEM_MB = 20.0
# A box fails now and then whatever its host's record says; what it did not finish is paid again.
FAILURES = 0.03
# A second box on a host is not wanted unless it is so much cheaper: what ends one may end both.
SAME_HOST = 1.25


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the order to `running` (only the disk costs), and from there to the first result."""

    load: float
    warm: float

    @property
    def seconds(self) -> float:
        """Both."""
        return self.load + self.warm


@dataclass(frozen=True, slots=True)
class Scale:
    """How much longer starts took than was guessed, and what an item brings in, as learned from the boxes."""

    load: float = 1.0
    warm: float = 1.0
    item_mb: float = ITEM_MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an offer would do: `speedup`: times this machine, `work`: its seconds, `dollars`: all of it."""

    offer: Offer
    price: float
    start: Start
    speedup: float
    work: float
    dollars: float
    per_thousand: float
    measured: bool


def guessed_start(down_mbps: float, scale: Scale = Scale()) -> Start:
    """How long a machine with such a network takes to start."""
    second_per_gb = 8000 / max(1.0, min(down_mbps, USABLE_MBPS))
    return Start(
        (LOAD_SECONDS + IMAGE_GB * second_per_gb) * scale.load,
        (WARM_SECONDS + MODELS_GB * second_per_gb) * scale.warm,
    )


def learned_scale(db: sqlite3.Connection) -> Scale:
    """How starts went of late, beside the guess for an ordinary network, and what was sent for an item."""
    sent = db.execute(
        "SELECT SUM(bytes) / 1e6 / SUM(done) FROM"
        " (SELECT bytes, done FROM boxes WHERE done > 100 ORDER BY intended DESC LIMIT 10)"
    ).fetchone()[0]
    item_mb = ITEM_MB if sent is None else min(MOST_ITEM_MB, float(sent))
    rows = db.execute(
        "SELECT running - intended, hello - running FROM boxes"
        " WHERE hello IS NOT NULL AND running IS NOT NULL ORDER BY intended DESC LIMIT 20"
    ).fetchall()
    if len(rows) < 3:
        return Scale(item_mb=item_mb)
    usual = guessed_start(600)
    load, warm = (sorted(max(0.0, row[n]) for row in rows)[len(rows) // 2] for n in (0, 1))
    return Scale(min(3.0, max(0.3, load / usual.load)), min(3.0, max(0.3, warm / usual.warm)), item_mb)


def price_of(offer: Offer, settings: FleetSettings) -> float:
    """Dollars an hour, disk included, by how boxes are rented."""
    if settings.rent == "interruptible":
        return (offer.bid - offer.storage) * settings.bid + offer.storage
    return offer.price


def fitting(
    offers: Iterable[Offer],
    settings: FleetSettings,
    machines: Collection[int] = (),
    hosts: Collection[int] = (),
) -> list[Offer]:
    """The offers that pass the settings' filters and the price cap, without blocked machines and hosts."""
    wish = settings.offers
    return [
        offer
        for offer in offers
        if offer.gpu_ram_gb >= wish.gpu_ram_gb * 0.97  # 8 GB cards report a little less
        and offer.reliability >= wish.reliability
        and (offer.verified or not wish.verified)
        and (offer.datacenter or not wish.datacenter)
        and offer.down_mbps >= wish.inet_down_mbps
        and offer.cuda >= wish.cuda
        and (not wish.regions or offer.region in wish.regions)
        and (not wish.gpus or offer.gpu in wish.gpus)
        and 0 < price_of(offer, settings) <= settings.caps.price_per_hour
        and offer.machine not in machines
        and offer.host not in hosts
    ]


def estimate(
    offer: Offer,
    items: Mapping[str, int],
    part: float,
    settings: FleetSettings,
    speeds: Speeds,
    scale: Scale = Scale(),
    *,
    same_host: bool = False,
) -> Estimate:
    """What this offer costs when a box of it does `part` (0 … 1) of these items (by task)."""
    start = guessed_start(offer.down_mbps, scale)
    price = price_of(offer, settings)
    work = speeds.seconds(offer.gpu, items) * part
    files = max(items.values(), default=0) * part
    paid = (start.warm + work + TAIL_SECONDS) / 3600 * price
    disk = start.load / 3600 * offer.storage
    sent = sum(items.values()) * part * scale.item_mb / 1000
    traffic = (IMAGE_GB + MODELS_GB + sent) * offer.traffic_in
    fails = min(0.5, FAILURES + 2 * (1 - offer.reliability))
    dollars = (paid + disk + traffic) / (1 - fails) * (SAME_HOST if same_host else 1.0)
    return Estimate(
        offer=offer,
        price=price,
        start=start,
        speedup=speeds.speedup(offer.gpu, items),
        work=work,
        dollars=dollars,
        per_thousand=dollars / files * 1000 if files else 0.0,
        measured=speeds.is_measured(offer.gpu, items),
    )


def estimates(
    offers: Iterable[Offer],
    items: Mapping[str, int],
    part: float,
    settings: FleetSettings,
    speeds: Speeds,
    scale: Scale = Scale(),
    taken_hosts: Collection[int] = (),
) -> list[Estimate]:
    """Of each offer, the cheapest for this work first."""
    found = [
        estimate(offer, items, part, settings, speeds, scale, same_host=offer.host in taken_hosts)
        for offer in offers
    ]
    return sorted(found, key=lambda each: (each.dollars, each.price, each.offer.id))


def seconds_here(items: Mapping[str, int], unprepared: int, speeds: Speeds) -> float:
    """How long this machine alone works on items (by task) and on files that are not prepared yet."""
    return speeds.seconds(HERE, items) + unprepared / speeds.rate(HERE, "prepare")
