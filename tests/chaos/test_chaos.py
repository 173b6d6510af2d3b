"""The harness in short: each kind of fault once, from a seed that stays and from one that is drawn."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.round import Plan, play

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.long
@pytest.mark.parametrize("seed", ["1", f"{random.SystemRandom().randrange(1 << 24)}"], ids=["fixed", "drawn"])
def test_no_file_is_lost_done_twice_or_stuck_whatever_fails(seed: str, tmp_path: Path) -> None:
    again = f"python -m tests.chaos --short --minutes 2 --files 60 --seed {seed}"
    print(f"seed {seed}; again: {again}")
    media = Path(__file__).resolve().parents[3] / "shared" / "media"
    plan = Plan(f"{seed} 1", 120, 60, media if media.is_dir() else None, short=True)
    report = play(plan, tmp_path / "chaos")
    assert not report.problems, f"seed {seed}: {report.problems}\n{again}\n" + "\n".join(report.log)
    assert report.faults.total() >= 15
