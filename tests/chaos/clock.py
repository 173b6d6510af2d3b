"""The wall clock of an installation, which can be set while it runs (see `clock.c`).

libfaketime cannot serve here: where it leaves the monotonic clock alone, Python's `time.sleep` fails in it
(0.9.10: clock_nanosleep answers EINVAL), and a machine whose monotonic clock jumps does not exist.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

_OFFSET = struct.Struct("q")


class Clock:
    """An offset in seconds that every process with this clock's `environment` adds to its wall clock."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 0
        self._library = folder / "clock.so"
        self._file = folder / "clock"
        self._file.write_bytes(_OFFSET.pack(0))
        source = Path(__file__).with_name("clock.c")
        compiler = shutil.which("cc")
        self.works = compiler is not None
        if compiler:
            command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(self._library), str(source), "-ldl"]
            subprocess.run(command, check=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to have this clock; nothing where there is no compiler to make it."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)} if self.works else {}

    def set(self, seconds: int) -> None:
        """Set the clock this far ahead of the true time; in one instruction, for all processes."""
        self.seconds = seconds
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), _OFFSET.size) as page:
            page[:] = _OFFSET.pack(seconds)
