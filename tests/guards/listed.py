"""The list of guards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Guard:
    """What protects: the text `old` in `file`; with `new` in its place, `test` must fail.

    `test` is a file or a test in it, as pytest takes it, `select` what `pytest -k` takes.
    """

    name: str
    file: str
    old: str
    new: str
    test: str
    select: str = ""


def read_guards() -> list[Guard]:
    """All guards of `guards.yaml`."""
    entries = yaml.safe_load((Path(__file__).parent / "guards.yaml").read_text(encoding="utf-8"))
    return [Guard(**entry) for entry in entries]
