"""Tasks that do what the colour of a picture says: the ways in which a real task's libraries go wrong."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import time
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from jobs.task import Finding, Task, Vector, register
from mediaflow.errors import MediaError
from mediaflow.media.rendition import Rendition
from mediaflow.settings import home

COLOURS = {
    "grey": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}


def nearest(picture: np.ndarray) -> str:
    """The colour of COLOURS that a picture is on the whole."""
    mean = picture.reshape(-1, 3).mean(axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


class Colours(Task):
    """Grey is an ordinary picture; the others do harm."""

    needs: ClassVar[Literal["pictures", "audio"]] = "pictures"
    together: ClassVar[int] = 2
    spaces: ClassVar[tuple[str, ...]] = ("colours",)

    def load(self) -> None:
        if (home() / "no-model").exists():
            raise MediaError("the model is not there")

    def analyse(self, batch: Sequence[Rendition]) -> list[Finding]:
        return [self._one(rendition) for rendition in batch]

    def _one(self, rendition: Rendition) -> Finding:
        with Image.open(rendition.path(rendition.pictures[0].file)) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
        colour = nearest(pixels)
        if (home() / "disk-full").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with (home() / f"{self.name}.calls").open("a") as calls:
            calls.write(f"{os.getpid()} {rendition.asset} {colour}\n")
        if colour == "red":
            ctypes.string_at(0)  # a segmentation fault
        elif colour == "green":
            re.match(r"(a+)+$", "a" * 60 + "b")  # an endless loop in C that holds the interpreter's lock
        elif colour == "blue":
            hoard = [b"x" * 50_000_000 for _ in range(40)]
            time.sleep(len(hoard))
        elif colour == "yellow":
            os._exit(7)
        elif colour == "magenta":
            raise MediaError("a colour that no task can stand")
        elif colour == "cyan":
            time.sleep(0.5)
        elif colour == "black":
            raise RuntimeError("something broke in the library")
        elif colour == "white":
            return Finding({"colour": colour}, (Vector("colours", np.full(3, np.nan, np.float32)),))
        values = pixels.reshape(-1, 3).mean(axis=0)
        values = values / (np.linalg.norm(values) or 1.0)
        return Finding({"colour": colour}, (Vector("colours", values.astype(np.float32)),))


@register
class Look(Colours):
    """The task that runs by default."""

    name: ClassVar[str] = "look"


@register
class Late(Colours):
    """The task that is asked for later."""

    name: ClassVar[str] = "late"
