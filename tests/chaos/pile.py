"""The pile: which files there are, and what must have become of each in the end."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests.chaos.picture import BITS, DEEDS, Page, paint

FOLDERS = (
    b"",
    b"a",
    b"a/b",
    b"a/b/\xc3\xa4\xc3\xb6 deep",
    b"c",
    b"c/new\nline",
    b"d/\x1b[31mred\x1b[0m",
    b"e/\xff\xfe",
)
NAMES = (
    b"photo %d", b"IMG_%04d", b"two\nlines %d", b"bell\x07 %d", b"\x1b[1mbold\x1b[0m %d",
    b"[bold red]markup %d",
    b"quote ' \" %d", b"\xff\xfeno utf8 %d", b"\xe2\x80\xaereversed %d", b"semi;colon && rm %d",
    b"-rf %d", b"* OR %d",
)  # fmt: skip
FORMATS = (("PNG", b".png"), ("JPEG", b".jpg"), ("WEBP", b".webp"), ("BMP", b".bmp"), ("TIFF", b".tif"))
# Odd, so that no two numbers become one: neighbours must not look alike.
SPREAD = 0x9E3779
HARMFUL = tuple(deed for deed, task in DEEDS.items() if task)


@dataclass(frozen=True, slots=True)
class Picture:
    """What a file of the pile holds: a page or more, all with the deed of the first."""

    pages: tuple[Page, ...]

    @property
    def deed(self) -> str:
        return self.pages[0].deed


@dataclass(frozen=True, slots=True)
class Bad:
    """A file that cannot be analysed: it must be listed with a reason that this expression finds."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stranger:
    """A real file: it must be settled, be it done or failed."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What is no file, or leads out of the root: it must not be in the catalog at all."""


Content = Picture | Bad | Stranger | Passed


@dataclass(slots=True)
class Pile:
    """A folder that lives: files come, are copied, renamed, replaced and vanish; all of it from `random`."""

    root: Path
    random: random.Random
    files: dict[bytes, Content] = field(default_factory=dict)
    ever: set[Picture] = field(default_factory=set)
    _count: int = 0

    def fill(self, count: int, media: Path | None) -> None:
        """Make `count` files: pictures, copies, one of each harm and of each kind of bad file, real ones."""
        for deed in HARMFUL:
            self.add(deed)
        self._add_bad()
        for path in _real(media, self.random, max(4, count // 20)):
            self._count += 1
            target = self._path(b"real %d" % self._count, os.fsencode(path.suffix))
            shutil.copyfile(path, target)
            self.files[target] = Stranger()
        while len(self.files) < count:
            self.random.choice((self.add, self.add, self.add, self.add, self.copy))()

    def change(self) -> str:
        """One thing that people do to folders; returns what."""
        what = self.random.choice(("add", "add", "add", "add", "harm", "copy", "rename", "vanish", "replace"))
        if what == "harm":
            self.add(self.random.choice(HARMFUL))
        else:
            getattr(self, what)()
        return what

    def add(self, deed: str = "") -> None:
        """A new picture, never seen before."""
        deed = deed or self.random.choice(("plain", "plain", "plain", "plain", "slow"))
        count = self.random.choice((1, 1, 1, 1, 1, 2, 3))
        form, suffix = ("TIFF", b".tif") if count > 1 else self.random.choice(FORMATS)
        self._count += 1
        content = Picture(tuple(Page(deed, self._number(at)) for at in range(count)))
        self._put(self._path(self._name(), suffix), content, form)

    def copy(self) -> None:
        """The same bytes at another place."""
        if path := self._any():
            target = self._path(self._name(), _suffix(path))
            _whole(target, Path(os.fsdecode(path)).read_bytes())
            self.files[target] = self.files[path]

    def rename(self) -> None:
        """The same file under another name."""
        if path := self._any():
            target = self._path(self._name(), _suffix(path))
            os.replace(path, target)
            self.files[target] = self.files.pop(path)

    def vanish(self) -> None:
        """A file less."""
        if path := self._any():
            os.remove(path)
            del self.files[path]

    def replace(self) -> None:
        """Another picture under the name of one that was there."""
        if path := self._any():
            self._count += 1
            self._put(path, Picture((Page("plain", self._number(0)),)), "PNG")

    def _put(self, path: bytes, content: Picture, form: str) -> None:
        pages = [Image.fromarray(paint(page)) for page in content.pages]
        more = {"save_all": True, "append_images": pages[1:]} if form == "TIFF" else {}
        # Named when it is whole, as downloads are, and under a name that no submit takes.
        partial = path + b".part"
        pages[0].save(
            os.fsdecode(partial), form, **more, **({"quality": 95} if form in ("JPEG", "WEBP") else {})
        )
        os.replace(partial, path)
        self.files[path] = content
        self.ever.add(content)

    def _add_bad(self) -> None:
        whole = Path(
            os.fsdecode(next(path for path, content in self.files.items() if isinstance(content, Picture)))
        )
        for name, content, reason in (
            (b"text.jpg", b"This is a letter, not a picture.\n" * 20, r"not a media file.*text"),
            (b"empty.png", b"", r"empty"),
            (b"zeros.png", bytes(4096), r"zeros"),
            (b"noise.mp4", self.random.randbytes(3000), r"not a media file|damaged"),
            (b"page.webp", b"<!DOCTYPE html><html></html>", r"web page"),
            (
                b"head only.png",
                b"\x89PNG\r\n\x1a\n" + whole.read_bytes()[8:24],
                r"damaged|cut short|cannot be|truncated",
            ),
        ):
            path = self._path(b"bad " + name, b"")
            _whole(path, content)
            self.files[path] = Bad(reason)
        pipe, link = self._path(b"pipe", b".jpg"), self._path(b"link", b".jpg")
        os.mkfifo(pipe)
        outside = self.root.parent / "outside.png"
        Image.fromarray(paint(Page("plain", 1))).save(outside)
        os.symlink(os.fsencode(outside), link)
        self.files |= {pipe: Passed(), link: Passed()}

    def _number(self, page: int) -> int:
        return (self._count << 2 | page) * SPREAD % (1 << BITS)

    def _any(self) -> bytes | None:
        paths = sorted(path for path, content in self.files.items() if isinstance(content, Picture))
        return self.random.choice(paths) if len(paths) > 10 else None

    def _name(self) -> bytes:
        self._count += 1
        return self.random.choice(NAMES) % self._count

    def _path(self, name: bytes, suffix: bytes) -> bytes:
        folder = os.path.join(os.fsencode(self.root), self.random.choice(FOLDERS)).rstrip(b"/")
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, name + suffix)


def _whole(path: bytes, content: bytes) -> None:
    with open(path + b".part", "wb") as file:
        file.write(content)
    os.replace(path + b".part", path)


def _suffix(path: bytes) -> bytes:
    return b"." + path.rpartition(b".")[2]


def _real(media: Path | None, chance: random.Random, count: int) -> list[Path]:
    """Some real files out of the folder of test media; none where there is none."""
    if media is None:
        return []
    found = [
        path for part in ("robust", "formats") for path in sorted((media / part).rglob("*")) if path.is_file()
    ]
    small = [path for path in found if path.stat().st_size < 300_000]
    return chance.sample(small, min(count, len(small)))
