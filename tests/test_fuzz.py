"""A short run of the fuzzer, always the same: the long ones are `python -m tests.fuzz`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz import run, samples
from tests.fuzz.mutations import mutate

pytestmark = pytest.mark.slow


def test_every_damaged_file_ends_done_or_with_a_reason(home: Path, tmp_path: Path) -> None:
    report = run.fuzz(20, samples.generated(), tmp_path / "files", seconds=180, most=600)
    assert not report.guilty, report.guilty
    assert report.counts["done"] > 50
    assert report.counts["refused"] > 50
    assert 0 < report.peak_mb < run.MEMORY_MB


def test_every_generated_file_is_in_order(home: Path, tmp_path: Path) -> None:
    from mediaflow.media.prepare import make_rendition
    from mediaflow.settings import load_settings

    files = samples.generated()
    assert len(files) >= 35
    for number, data in enumerate(files):
        path = tmp_path / str(number)
        path.write_bytes(data)
        make_rendition(str(path), tmp_path / f"{number}.rendition", load_settings())


def test_a_seed_makes_the_same_files_again() -> None:
    once, again = random.Random(7), random.Random(7)
    for _ in range(50):
        assert mutate(once, b"RIFF" * 50, b"other") == mutate(again, b"RIFF" * 50, b"other")


def test_what_nobody_foresaw_is_guilty() -> None:
    for reason in (
        "TypeError: x",
        "av.error.ArgumentError: y",
        "took longer than the 20 seconds",
        "IndexError",
    ):
        assert run._verdict(reason)[1]
    for reason in ("", "a damaged JPEG image: it is cut short", "not a media file: it looks like text"):
        assert not run._verdict(reason)[1]
    assert run._verdict("crashed the process that analysed it (SIGSEGV)")[0] == "crashed"
