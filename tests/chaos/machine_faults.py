"""Faults of the machine: a full disk, a clock that jumps; and two people at once."""

from __future__ import annotations

import contextlib
import errno
from typing import BinaryIO

from tests.chaos.scene import Impossible, Scene
from tests.chaos.traffic import two_at_once


def full_disk(scene: Scene) -> str:
    system = scene.system
    if not system.mounted:
        raise Impossible
    ballast = system.home / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        _fill(file)
    seconds = scene.last(2, 2 + 10 * scene.pace)
    ballast.unlink()
    return f"{seconds:.1f} s"


def _fill(file: BinaryIO) -> None:
    size = 1 << 20
    while size >= 1:
        try:
            file.write(bytes(size))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            size //= 2


def jump_clock(scene: Scene) -> str:
    if not scene.system.clock.works:
        raise Impossible
    seconds = scene.chance.choice((-1, 1)) * scene.chance.randint(60, 6 * 3600)
    scene.system.clock.set(seconds)
    return f"to {seconds:+} s"


def submit_twice(scene: Scene) -> str:
    """Two submits at once: of the same folder, or of one in the other; one of them may wait."""
    root = scene.traffic.pile.root
    other = scene.chance.choice((root, root / "a"))
    words = [("submit", str(root)), ("submit", str(other if other.is_dir() else root), "--wait")]
    scene.chance.shuffle(words)
    two_at_once(scene.traffic, *words)
    return " and ".join(" ".join(each) for each in words)
