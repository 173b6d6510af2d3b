"""The benchmarks measure what they say: their files, their marks, and that they run to their end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import Row
from benchmarks.quality.__main__ import loses
from benchmarks.scale import make_tree
from benchmarks.vectors import clustered

ROOT = Path(__file__).resolve().parents[1]


def test_the_tree_holds_as_many_distinct_pictures_as_asked(tmp_path: Path) -> None:
    make_tree(tmp_path, 700)
    contents = {path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert len(contents) == 700


def test_made_up_vectors_have_near_neighbours_and_unit_length() -> None:
    vectors = np.concatenate(list(clustered(21_000, 64)))
    assert vectors.shape == (21_000, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    nearest = np.sort(vectors[:100] @ vectors.T, axis=1)[:, -2]
    assert np.median(nearest) > 0.6


@pytest.mark.parametrize(
    ("row", "marked"),
    [
        (Row("ocr", "scans", "recall", 0.90, {"bare": 0.92}), True),
        (Row("ocr", "scans", "recall", 0.90, {"bare": 0.905}), False),
        (Row("ocr", "scans", "cer", 0.03, {"bare": 0.01}, higher_is_better=False), True),
        (Row("ocr", "scans", "recall", 0.90, {"bare": 0.5, "an upper bound": 1.0}), False),
        (Row("nsfw", "harmless", "unsafe", 1, {"bare": 0}, higher_is_better=False), True),
        (Row("search", "all", "MRR", 0.1), False),
    ],
)
def test_what_is_a_point_behind_the_bare_library_is_marked(row: Row, marked: bool) -> None:
    assert loses(row) is marked


def test_a_benchmark_that_is_not_there_is_wrong_usage() -> None:
    done = subprocess.run([ROOT / "scripts" / "benchmark", "speed"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "throughput" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["fleet_month"], []),
        (["fleet_month", "--figure", "a.png"], ["--dev"]),
        (["fleet_month", "--figure=a.png"], ["--dev"]),
        (["scale"], ["--models"]),
    ],
)
def test_a_benchmark_sets_up_what_it_needs_and_no_more(
    arguments: list[str], asked: list[str], tmp_path: Path
) -> None:
    echo = '#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n'
    for place in ("scripts/setup", ".venv/bin/python"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(echo)
        (tmp_path / place).chmod(0o755)
    for name in ("benchmark", "places.sh"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
    command = [tmp_path / "scripts" / "benchmark", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["scripts/setup", *asked]
    assert done.stdout.split()[2:] == [f"benchmarks.{arguments[0]}", *arguments[1:]]


def test_a_figure_that_cannot_be_drawn_is_refused_before_the_months_are_played(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    command = [sys.executable, "-m", "benchmarks.fleet_month", "--seeds", "1", "--days", "1"]
    done = subprocess.run(
        [*command, "--figure", tmp_path / "months.png"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "scripts/setup --dev" in done.stderr


@pytest.mark.slow
def test_scale_runs_to_its_end_and_counts_every_step() -> None:
    command = [sys.executable, "-m", "benchmarks.scale", "--files", "400", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    steps = json.loads(done.stdout)["steps"]
    assert len(steps) == 6
    assert all(step["seconds"] >= 0 for step in steps)
