"""How `mediaflow fleet plan`, `status` and `costs` look."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from mediaflow.cli.output import duration, print_table, when
from mediaflow.names import readable

if TYPE_CHECKING:
    from mediaflow.fleet.costs import Costs
    from mediaflow.fleet.settings import FleetSettings

WIDTH = 80
# Of a label: its end is all that tells boxes of one installation apart, and `logs` takes it.
BOX_CHARACTERS = 8


def print_plan(plan: dict[str, Any]) -> None:
    """What would be rented, and the offers in a table."""
    if not plan["enabled"]:
        _say("The fleet is not enabled (configs/fleet.yaml): this is what it would do.")
    for unknown in plan["unknown"]:
        _say(f"{readable(unknown)} (configs/fleet.yaml).")
    waiting: dict[str, int] = {}
    for each in plan["waiting"]:
        waiting[each["task"]] = waiting.get(each["task"], 0) + each["ready"] + each["coming"]
    if waiting:
        due = min(each["deadline"] for each in plan["waiting"])
        items = ", ".join(f"{task} {count:,}" for task, count in waiting.items())
        _say(f"Waiting: {items}; due {when(due)}.")
    _say(plan["why"])
    if plan["refused"]:
        _say(f"Nothing would be ordered: {plan['refused']}.")
    elif plan["rent"]:
        rent = plan["rent"]
        _say(
            f"It would rent offer {rent['offer']}: {rent['gpu']} in {rent['region']} for "
            f"{rent['price']:.3f} $ an hour; {rent['dollars']:.3f} $ in all."
        )
    if plan["controller"] and plan["controller"] != plan["why"]:
        _say(f"The controller that runs: {readable(plan['controller'])}")
    if plan["trouble"]:
        _say(readable(plan["trouble"]))
    if not plan["offers"]:
        _say("No offer fits the settings.")
        return
    print()
    columns = ["offer", "GPU", "in", "$/h", "speed", "reliable", "minutes", "$/1,000 files"]
    rows = [
        [
            readable(str(each["offer"])),
            readable(each["gpu"]),
            readable(each["region"]),
            f"{each['price']:.3f}",
            f"{'' if each['measured'] else '~'}{each['speedup']:.0f}x",
            f"{each['reliability'] * 100:.1f} %",
            f"{each['start_seconds'] / 60:.0f} + {each['work_seconds'] / 60:.0f}",
            f"{each['per_1000']:.4f}",
        ]
        for each in plan["offers"]
    ]
    print_table(columns, rows, right=columns[3:])
    print()
    items = ", ".join(f"{task} {count:,}" for task, count in plan["compared"].items())
    _say(f"Compared for: {items}. Minutes to start and to work. Speed beside this machine; ~ is a guess.")


def print_fleet(state: dict[str, Any]) -> None:
    """The boxes, the money, and what is done."""
    if state["boxes"]:
        figures = ["$/h", "for", "in hand", "done"]
        rows = [
            [
                box["box"][-BOX_CHARACTERS:],
                box["state"],
                readable(box["gpu"]),
                f"{box['price']:.3f}",
                duration(box["seconds"]),
                box["in_hand"],
                f"{box['done']:,}",
            ]
            for box in state["boxes"]
        ]
        print_table(["box", "state", "GPU", *figures], rows, right=figures)
        for box in state["boxes"]:
            if box["trouble"]:
                _say(f"{box['box']}: {readable(box['trouble'])}")
        print()
    pid = f"controller pid {state['controller']}" if state["controller"] else "no controller"
    count = len(state["boxes"])
    boxes = "1 box" if count == 1 else f"{count} boxes"
    credit = f"; credit {state['credit']:.2f} $" if state["credit"] is not None else ""
    _say(
        f"Fleet: {boxes}, {pid}; {state['spend_today']:.2f} of {state['cap_today']:g} $ today, "
        f"{state['spend_month']:.2f} of {state['cap_month']:g} $ this month{credit}"
    )
    _say(readable(state["why"]))
    for sentence in (state["fallback"], state["trouble"]):
        if sentence:
            _say(readable(sentence))


def costs_answer(costs: Costs, fleet: FleetSettings) -> dict[str, Any]:
    """The costs in the form that `mediaflow fleet costs --json` prints."""
    caps = fleet.caps
    return {
        "today": round(costs.spent.day, 4),
        "month": round(costs.spent.month, 4),
        "left_today": round(max(0.0, caps.per_day - costs.spent.day), 4),
        "left_month": round(max(0.0, caps.per_month - costs.spent.month), 4),
        "days": {name: round(dollars, 4) for name, dollars in costs.days.items()},
        "months": {name: round(dollars, 4) for name, dollars in costs.months.items()},
        "boxes": [
            {
                "box": box.label,
                "gpu": box.gpu,
                "since": box.intended,
                "ended": box.ended,
                "done": box.done,
                "dollars": round(dollars, 4),
                "reason": box.reason,
            }
            for box, dollars in costs.boxes
        ],
        "tasks": {
            task: {"dollars": round(dollars, 4), "items": costs.items.get(task, 0)}
            for task, dollars in costs.tasks.items()
        },
        "files": costs.files,
        "per_1000_files": None if costs.per_thousand is None else round(costs.per_thousand, 4),
    }


def print_costs(answer: dict[str, Any]) -> None:
    """The costs in tables."""
    _say(
        f"Today {answer['today']:.3f} $ ({answer['left_today']:.2f} $ left), "
        f"this month {answer['month']:.3f} $ ({answer['left_month']:.2f} $ left)."
    )
    if not answer["boxes"]:
        _say("No box was rented in the last 31 days.")
        return
    print()
    print_table(["day (UTC)", "$"], [[day, f"{d:.3f}"] for day, d in answer["days"].items()], right=["$"])
    print()
    rows = [
        [
            each["box"],
            readable(each["gpu"]),
            when(each["since"]),
            f"{each['done']:,}",
            f"{each['dollars']:.3f}",
        ]
        for each in answer["boxes"]
    ]
    print_table(["box", "GPU", "since", "done", "$"], rows, right=["done", "$"])
    if answer["tasks"]:
        print()
        tasks = [
            [task, f"{each['items']:,}", f"{each['dollars']:.3f}"] for task, each in answer["tasks"].items()
        ]
        print_table(["task", "items", "$"], tasks, right=["items", "$"])
    if answer["per_1000_files"] is not None:
        print()
        _say(f"{answer['files']:,} files by boxes; {answer['per_1000_files']:.3f} $ for 1,000 files.")


def _say(sentence: str) -> None:
    print(textwrap.fill(sentence, WIDTH, break_long_words=False, break_on_hyphens=False))
