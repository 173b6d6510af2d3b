"""One round: an installation, a pile, faults for a while, rest, and the verdict."""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mediaflow.errors import MediaflowError
from tests.chaos.account import Span, is_alone
from tests.chaos.faults import Fault, deal
from tests.chaos.inspection import (
    inspect_catalog,
    inspect_end,
    inspect_failures,
    inspect_index,
    inspect_queues,
    inspect_search,
)
from tests.chaos.pile import Pile
from tests.chaos.scene import Impossible, NobodyThere, Scene
from tests.chaos.settle import restore, settle
from tests.chaos.system import System
from tests.chaos.traffic import Traffic
from tests.chaos.verdict import Verdict, judge_files

WARM_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round is: how long, how many files, from what seed. `short` is each fault once, in a hurry."""

    seed: str
    seconds: float
    files: int
    media: Path | None
    short: bool = False
    kinds: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """What a round showed."""

    layout: str
    faults: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    commands: int = 0
    files: int = 0
    assets: int = 0
    repeats: int = 0
    analyses: int = 0
    spans: list[Span] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    back_alone: list[float] = field(default_factory=list)
    settled: float = 0.0
    problems: dict[str, list[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The form that --json prints."""
        return {
            "layout": self.layout, "faults": dict(self.faults.most_common()), "commands": self.commands,
            "files": self.files, "assets": self.assets, "analyses": self.analyses, "repeats": self.repeats,
            "back_seconds": _spread(self.back), "back_seconds_alone": _spread(self.back_alone),
            "settled_seconds": round(self.settled, 1), "problems": self.problems,
        }  # fmt: skip


def _spread(seconds: list[float]) -> dict[str, float]:
    return {
        "times": len(seconds),
        "median": round(statistics.median(seconds or [0.0]), 1),
        "most": round(max(seconds, default=0.0), 1),
    }


def play(plan: Plan, folder: Path) -> Report:
    """Play one round in `folder`, which stays, with the home and its logs."""
    system = System(folder, random.Random(f"{plan.seed} layout"))
    report = Report(system.layout)
    pile = Pile(folder / "pile", random.Random(f"{plan.seed} pile"))
    pile.fill(plan.files, plan.media)
    traffic = Traffic(system, pile, plan.seed)
    try:
        with system:
            # Whoever interrupts this does not wait for the commands in hand: leaving `with` ends them.
            traffic.start()
            time.sleep(WARM_SECONDS)
            _inject(plan, Scene(system, traffic, random.Random(f"{plan.seed} faults"), _pace(plan)), report)
            restore(system)
            traffic.stop()
            rest = settle(system, pile)
            verdict = _judge(system, pile)
            _measure(report, system, rest.seconds, verdict, traffic)
            for problem in rest.problems:
                verdict.add("stuck", problem)
            for complaint in traffic.complaints:
                verdict.add("command", complaint)
            report.problems = verdict.problems
    finally:
        _keep(system)
    (folder / "faults.log").write_text("\n".join(report.log) + "\n")
    return report


def _pace(plan: Plan) -> float:
    return 0.1 if plan.short else min(1.0, plan.seconds / 1200)


def _inject(plan: Plan, scene: Scene, report: Report) -> None:
    began = time.monotonic()
    missed: list[Fault] = []
    for fault in deal(scene.chance, once=plan.short):
        if plan.kinds and fault.__name__ not in plan.kinds:
            continue
        if time.monotonic() - began > plan.seconds:
            return
        if not _one(fault, scene, report, began):
            missed.append(fault)
        time.sleep(scene.chance.uniform(0.2, 1.0 if plan.short else 2.0))
    # Dealt once, each must have its turn: what found nobody is tried again while it may still find somebody.
    while missed and time.monotonic() - began < plan.seconds:
        missed = [fault for fault in missed if not _one(fault, scene, report, began)]
        time.sleep(0.3)


def _one(fault: Fault, scene: Scene, report: Report, began: float) -> bool:
    """Let one fault happen; False when it found nothing to harm now."""
    name = fault.__name__.replace("_", " ")
    since = time.monotonic()
    try:
        what = fault(scene)
    except NobodyThere:
        return False
    except Impossible:
        return True
    report.faults[name] += 1
    report.spans.append(Span(name, since, time.monotonic()))
    line = f"{time.monotonic() - began:7.1f} s  {name}: {what}"
    report.log.append(line)
    print(line, file=sys.stderr, flush=True)
    return True


def _judge(system: System, pile: Pile) -> Verdict:
    try:
        verdict = judge_files(system, pile)
        inspect_search(system, pile, verdict)
        inspect_failures(system, pile, verdict)
        inspect_index(system, verdict)
        inspect_catalog(system, verdict)
        inspect_queues(system, verdict)
    except MediaflowError as error:
        verdict = Verdict()
        verdict.add("broken", f"{type(error).__name__}: {error}")
    inspect_end(system, verdict)
    return verdict


def _measure(report: Report, system: System, settled: float, verdict: Verdict, traffic: Traffic) -> None:
    account = system.account()
    report.settled, report.commands = settled, traffic.commands
    report.files, report.assets = verdict.files, verdict.assets
    begun = account.begun()
    report.analyses, report.repeats = begun.total(), begun.total() - len(begun)
    for kill in system.kills:
        if (back := account.back_after(kill)) is not None:
            report.back.append(back)
            if is_alone(kill, back, report.spans):
                report.back_alone.append(back)


def _keep(system: System) -> None:
    """The home outlives its small disk."""
    if not system.mounted:
        return
    kept = system.folder / "home.kept"
    shutil.copytree(system.home, kept, symlinks=True, ignore=shutil.ignore_patterns("ballast", "*.sock"))
    system.unmount()
    system.home.rmdir()
    kept.rename(system.home)
