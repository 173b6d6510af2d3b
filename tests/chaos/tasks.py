"""The tasks of the installation under faults: small, quick, and as ill-behaved as a picture asks for."""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from jobs.task import Finding, Task, Vector, register
from mediaflow.errors import MediaError
from mediaflow.media.rendition import Picture, Rendition
from tests.chaos import picture
from tests.chaos.picture import DEEDS, Page

# Long enough that a batch is often found in the middle.
SECONDS, SLOW_SECONDS = 0.04, 0.6
HUGE = 20_000_000
# Not those that the settings name: a search must find no encoder to load, which would need an extra.
TEXT_SPACE, IMAGE_SPACE = "chaos-text", "chaos-pictures"


class Chaos(Task):
    """What the tasks share: reading pages, telling of each analysis, and the deeds."""

    needs: ClassVar[Literal["pictures", "audio"]] = "pictures"
    together: ClassVar[int] = 2

    def analyse(self, batch: Sequence[Rendition]) -> list[Finding]:
        return [self._one(rendition) for rendition in batch]

    def _one(self, rendition: Rendition) -> Finding:
        pages = [_read(rendition, still) for still in rendition.pictures]
        deed = pages[0].deed
        self._tell("begin", rendition.asset, deed)
        time.sleep(SLOW_SECONDS if deed == "slow" else SECONDS)
        if DEEDS[deed] == self.name:
            getattr(self, f"_{deed}")()
        finding = self.find(rendition, pages)
        self._tell("end", rendition.asset, deed)
        return finding

    def find(self, rendition: Rendition, pages: list[Page]) -> Finding:
        """What is in these pages."""
        raise NotImplementedError

    def _tell(self, what: str, asset: str, deed: str) -> None:
        # In one piece, and not in the home, whose disk may be full: the account must be true.
        line = f"{time.monotonic():.3f} {what} {self.name} {asset} {deed} {os.getppid()} {os.getpid()}\n"
        file = os.open(Path(os.environ["CHAOS_ACCOUNT"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)


def _read(rendition: Rendition, still: Picture) -> Page:
    with Image.open(rendition.path(still.file)) as image:
        return picture.read(np.asarray(image.convert("RGB"), dtype=np.float32))


@register
class Look(Chaos):
    """Says which colour and number a picture has; does the harm that native code does."""

    name: ClassVar[str] = "look"

    def find(self, rendition: Rendition, pages: list[Page]) -> Finding:
        return Finding({"pages": [{"deed": page.deed, "number": page.number} for page in pages]})

    def _segfault(self) -> None:
        ctypes.string_at(0)

    def _hang(self) -> None:
        re.match(r"(a+)+$", "a" * 60 + "b")  # in C, holding the interpreter's lock

    def _hoard(self) -> None:
        hoard = [b"x" * 50_000_000 for _ in range(20)]
        time.sleep(len(hoard))

    def _exit(self) -> None:
        os._exit(7)

    def _refuse(self) -> None:
        raise MediaError("a colour that no task can stand")

    def _break(self) -> None:
        raise RuntimeError("something broke in the library")


@register
class Ocr(Chaos):
    """Reads the word of each page."""

    name: ClassVar[str] = "ocr"
    _deed: str = ""

    def find(self, rendition: Rendition, pages: list[Page]) -> Finding:
        deed, self._deed = self._deed, ""
        if deed == "mistyped":
            return Finding({"text": 7, "lines": {"text": ["not", "a", "line"]}})
        if deed == "huge":
            return Finding({"text": "x " * (HUGE // 2), "lines": []})
        return Finding(read_lines(pages, [still.page for still in rendition.pictures]))

    def _mistyped(self) -> None:
        self._deed = "mistyped"

    def _huge(self) -> None:
        self._deed = "huge"


def read_lines(pages: Sequence[Page], numbers: Sequence[int | None]) -> dict[str, Any]:
    """What the task `ocr` finds on these pages, which have these page numbers."""
    lines = []
    for page, number in zip(pages, numbers, strict=True):
        if page.number is None:
            continue
        box = [[0, 0], [picture.WIDTH, 0], [picture.WIDTH, picture.HEIGHT], [0, picture.HEIGHT]]
        line: dict[str, Any] = {"text": page.word, "confidence": 1.0, "box": box}
        lines.append(line | ({"page": number} if number else {}))
    return {"text": "\n".join(line["text"] for line in lines), "lines": lines}


@register
class Embed(Chaos):
    """Vectors of pictures, and of the words that were read."""

    name: ClassVar[str] = "embed"
    _deed: str = ""

    @classmethod
    def may_write(cls, model: str, source: str | None) -> Mapping[str, int | None]:  # noqa: ARG003
        """The spaces that its vectors may be in, with their sizes: a crooked one may be the first."""
        if source is None:
            return {IMAGE_SPACE: picture.IMAGE_DIMENSION}
        return {TEXT_SPACE: picture.TEXT_DIMENSION}

    @property
    def text_space(self) -> str:
        """Where the words go that were read."""
        return TEXT_SPACE

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, TEXT_DIMENSION) of texts."""
        time.sleep(SECONDS)
        return np.stack([picture.text_vector(text) for text in texts])

    def find(self, rendition: Rendition, pages: list[Page]) -> Finding:
        deed, self._deed = self._deed, ""
        vectors = []
        for page, still in zip(pages, rendition.pictures, strict=True):
            values = picture.image_vector(page)
            if deed == "crooked":
                values = values[:-1]
            if deed == "nan":
                values = np.full_like(values, np.nan)
            vectors.append(Vector(IMAGE_SPACE, values, page=still.page, time=still.time))
        return Finding({}, tuple(vectors))

    def _crooked(self) -> None:
        self._deed = "crooked"

    def _nan(self) -> None:
        self._deed = "nan"
