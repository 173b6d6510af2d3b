"""What a month of boxes costs by policy: simulated months with several seeds, beside the lower bound.

    python -m benchmarks.fleet_month [--seeds 10] [--first 1] [--days 30] [--figure PATH.png] [--json]

Nothing is rented: the controller is the real one, everything around it is played (docs/fleet.md says how).
The figure shows one month of the policy `deadline`, and the ratios of all.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from statistics import mean

from benchmarks.installation import arguments, print_answer, say
from mediaflow.fleet.policies import POLICIES
from mediaflow.fleet.settings import load_fleet
from mediaflow.fleet.simulator.arrivals import DAY, HOUR, MONTH_START
from mediaflow.fleet.simulator.month import simulate
from mediaflow.fleet.simulator.report import Report

SETTINGS = load_fleet().model_copy(update={"enabled": True})
RATIO_GOAL, DEADLINE_GOAL = 1.3, 0.95
Months = Mapping[str, Sequence[Report]]


def play(what: tuple[str, int, int]) -> Report:
    """One month: policy, seed, days."""
    policy, seed, days = what
    return simulate(seed, days, policy, SETTINGS).report


def measure(seeds: Sequence[int], days: int) -> dict[str, list[Report]]:
    """The months of every policy, with the same seeds."""
    found: dict[str, list[Report]] = {}
    with ProcessPoolExecutor(2) as pool:
        for policy in POLICIES:
            say(f"{policy}: {len(seeds)} months")
            found[policy] = list(pool.map(play, [(policy, seed, days) for seed in seeds]))
    return found


def row(policy: str, months: Sequence[Report]) -> tuple[str, ...]:
    """A policy's line of the table."""
    ratios = [each.ratio for each in months if each.ratio is not None]
    runs = sum(each.runs for each in months)
    waits = [each.wait_p95_s for each in months if each.wait_p95_s is not None]
    return (
        policy,
        f"{mean(each.spend for each in months):.2f}",
        f"{mean(ratios):.2f}",
        f"{min(ratios):.2f}",
        f"{max(ratios):.2f}",
        f"{sum(each.within_deadline * each.runs for each in months) / runs:.3f}",
        f"{mean(waits) / HOUR:.1f}" if len(waits) == len(months) else "never",
        f"{sum(each.leaked_box_hours for each in months):.2f}",
        str(sum(each.cap_violations for each in months)),
    )


def draw(months: Months, seed: int, days: int, path: Path) -> None:
    """A month of `deadline` (work here, work of boxes, prices paid) and the ratios of all policies."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    month = simulate(seed, days, "deadline", SETTINGS)
    figure, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(9, 8), height_ratios=(2, 1, 2), layout="constrained"
    )
    for run in month.work.runs:
        begin, due = ((at - MONTH_START) / DAY for at in (run.arrival.at, run.deadline))
        end = ((run.finished or run.deadline) - MONTH_START) / DAY
        top.plot([begin, due], [run.arrival.files] * 2, color="0.8", lw=5, solid_capstyle="butt")
        top.plot([begin, end], [run.arrival.files] * 2, color="C0", lw=2, solid_capstyle="butt")
    top.set_yscale("log")
    top.set_ylabel("files of a run")
    top.set_title(f"Seed {seed}: runs from submit to end (blue), and to their deadline (grey)", fontsize=10)
    for box in month.account.boxes.values():
        begin, end = ((at - MONTH_START) / DAY for at in (box.ordered, box.ended or box.settled))
        middle.plot([begin, end], [box.price] * 2, color="C1", lw=4, solid_capstyle="butt")
    middle.set_ylim(0)
    middle.set_xlim(top.get_xlim())
    middle.set_ylabel("$ an hour")
    middle.set_xlabel("day")
    middle.set_title("Boxes", fontsize=10)
    for number, (policy, reports) in enumerate(months.items()):
        ratios = [each.ratio for each in reports if each.ratio is not None]
        bottom.plot(ratios, [number] * len(ratios), "o", color=f"C{number}", alpha=0.6, label=policy)
    bottom.axvline(RATIO_GOAL, color="0.6", ls=":")
    bottom.set_xscale("log")
    bottom.set_yticks(range(len(months)), list(months))
    bottom.invert_yaxis()
    bottom.set_xlabel("spend / lower bound, a point for each seed")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Play and print; status 1 when `deadline` misses a goal or another policy is cheaper."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    if options.figure:
        try:
            import_module("matplotlib")
        except ImportError:  # said before the months are played, not after
            parser.error("--figure needs matplotlib: scripts/setup --dev installs it.")
    seeds = range(options.first, options.first + options.seeds)
    months = measure(seeds, options.days)
    head = ("policy", "$ a month", "ratio", "least", "most", "in time", "p95 h", "leaked h", "caps broken")
    table = [head, *(row(policy, reports) for policy, reports in months.items())]
    print_answer(
        {policy: [each.json() for each in reports] for policy, reports in months.items()}, table, options.json
    )
    if options.figure:
        draw(months, options.first, options.days, options.figure)
    sys.exit(not reached(months))


def reached(months: Months) -> bool:
    """Whether `deadline` keeps what is promised of it, and is cheaper than all others."""
    own = months["deadline"]
    spend, bound = sum(each.spend for each in own), sum(each.lower_bound for each in own)
    in_time = sum(each.within_deadline * each.runs for each in own) / sum(each.runs for each in own)
    others = [sum(each.spend for each in reports) for name, reports in months.items() if name != "deadline"]
    clean = not any(each.cap_violations or each.leaked_box_hours for each in own)
    return clean and spend <= RATIO_GOAL * bound and in_time >= DEADLINE_GOAL and spend < min(others)


if __name__ == "__main__":
    main()
