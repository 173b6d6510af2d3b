"""The list of guards is true: what it says stands where it says so, and its tests are there."""

from __future__ import annotations

import re

import pytest

from tests.guards.listed import ROOT, Guard, read_guards


@pytest.mark.parametrize("guard", read_guards(), ids=lambda guard: guard.name)
def test_a_guard_stands_where_the_list_says(guard: Guard) -> None:
    assert (ROOT / guard.file).read_text().count(guard.old) == 1
    assert guard.old != guard.new
    path, _, name = guard.test.partition("::")
    text = (ROOT / path).read_text()
    assert not name or f"def {name.partition('[')[0]}(" in text
    names = [word for word in re.findall(r"\w+", guard.select) if word.startswith("test_")]
    assert all(f"def {word}" in text for word in names)
