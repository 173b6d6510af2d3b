"""A small disk of a test, and how it is filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.conftest import missing

MEGABYTES = 6


class Disk:
    """A small disk, and a file that takes the room that is left on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"

    def fill(self, leave: int = 0) -> None:
        """Take all but `leave` bytes, to the last one."""
        ballast = os.open(self.folder / "ballast", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    os.write(ballast, b"x" * size)
        if leave:
            os.ftruncate(ballast, os.fstat(ballast).st_size - leave)
        os.close(ballast)

    def free(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """A disk of some megabytes with a home on it."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"a tmpfs may not be mounted here: {done.stderr.strip()}")
    (folder / "home").mkdir()
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
