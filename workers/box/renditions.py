"""Renditions on a box: fetched ahead of the work, a bounded amount, and gone when nothing needs them."""

from __future__ import annotations

import json
import logging
import random
import re
import shutil
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from threading import Condition, Lock
from typing import Any

from mediaflow.disk import free_bytes
from mediaflow.errors import MediaflowError, StorageError
from mediaflow.media.cache import rendition_folder
from mediaflow.media.rendition import MANIFEST, tracks_of
from mediaflow.media.storage import writing
from mediaflow.settings import home
from workers.box.life import Life, Over
from workers.box.link import FIRST_PAUSE, LONGEST_PAUSE, Cut, Link, Refused

log = logging.getLogger("mediaflow.box")

MOST_FILES = 10_000
MOST_BYTES = 8 * 1024**3  # of one rendition: twelve hours of sound are 1.4 GB
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,100}(\.[A-Za-z0-9]{1,10}){0,2}")
_HASH = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 18
# Of the free disk renditions may take so much.
SHARE = 0.5


class Unfetched(MediaflowError):
    """An item's rendition cannot be had here; somebody else may."""


class Renditions:
    """What lies in the box's home; items hold what they need of it, and let go of it."""

    def __init__(self, link: Link, life: Life) -> None:
        self._link, self._life = link, life
        self._change = Condition()
        self._unpacking = Lock()
        self._holders: Counter[str] = Counter()
        self._there: dict[tuple[str, str], bool] = {}  # asset and what of it: False while it is fetched
        self._bytes: dict[tuple[str, str], int] = {}  # of those: reserved before they are unpacked
        self.most_bytes = int(free_bytes(home()) * SHARE)

    def hold(self, asset: str, needs: str, path: str) -> None:
        """Have the files of an asset that tasks of these `needs` read, until `release`.

        Raises Unfetched where they cannot be had, and Over.
        """
        if not _HASH.fullmatch(asset):
            raise Unfetched("its name is not the hash of an asset")
        key = (asset, needs)
        with self._change:
            self._holders[asset] += 1
            while self._there.get(key) is False:
                self._pause(0.5)
            if self._there.get(key):
                return
            self._there[key] = False
        try:
            self._fetch(key, path)
        except BaseException:
            with self._change:
                del self._there[key]
                self._bytes.pop(key, None)
                self._change.notify_all()
            self.release(asset)
            raise
        with self._change:
            self._there[key] = True
            self._change.notify_all()

    def release(self, asset: str) -> None:
        """An item needs the asset's files no more."""
        with self._change:
            self._holders[asset] -= 1
            if self._holders[asset] > 0:
                return
            del self._holders[asset]
            for key in [key for key in self._there if key[0] == asset]:
                del self._there[key]
                self._bytes.pop(key, None)
            # Within the lock: nobody may begin to fetch it anew meanwhile.
            shutil.rmtree(rendition_folder(asset), ignore_errors=True)
            self._change.notify_all()

    def _pause(self, seconds: float) -> None:
        self._change.wait(seconds)
        if self._life.over():
            raise Over(self._life.reason)

    def _has_room(self, key: tuple[str, str], size: int) -> bool:
        """Whether so much more may lie here; where no other asset does, it is tried in any case."""
        held = sum(self._bytes.values()) - self._bytes.get(key, 0)
        return held + size <= self.most_bytes or all(other[0] == key[0] for other in self._bytes)

    def _reserve(self, key: tuple[str, str], size: int, *, wait: bool) -> bool:
        """Take room for what is to be unpacked; whether it is had."""
        with self._change:
            while not self._has_room(key, size):
                if not wait:
                    return False
                self._pause(0.5)
            self._bytes[key] = size
            return True

    def _fetch(self, key: tuple[str, str], path: str) -> None:
        """Fetch and unpack when there is room, again after a cut. Raises Unfetched and Over."""
        pause = FIRST_PAUSE
        while not self._life.over():
            try:
                with self._link.stream(path) as response:
                    size = int(response.headers.get("content-length", "0"))
                    if self._reserve(key, size, wait=False):
                        stream = _Stream(response.iter_bytes(_CHUNK))
                        unpack(stream, rendition_folder(key[0]), self._unpacking)
                        stream.finish()
                        return
                # Without the answer: it may take long until others are done, and it is asked for again then.
                self._reserve(key, size, wait=True)
            except (Cut, tarfile.TarError) as error:  # cut short
                log.warning("a rendition: %s", error)
                self._life.wait(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, LONGEST_PAUSE)
            except (Refused, StorageError) as error:
                raise Unfetched(f"its rendition could not be fetched: {error}") from None
        raise Over(self._life.reason)


def unpack(stream: Any, folder: Path, lock: Lock) -> int:
    """Write the files of a rendition's tar into `folder`, the manifest last; their bytes.

    A manifest names what its tar holds; that of a folder comes to name what all its tars held. Whoever made
    it: nothing but plain files with plain names, not too many and not too large. Raises Unfetched where there
    is something else, tarfile.ReadError where it was cut short, StorageError where the disk refuses.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        names: list[str] = []
        total = 0
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for entry in tar:
                total += entry.size
                if not entry.isreg() or not _NAME.fullmatch(entry.name) or entry.name in names:
                    raise Unfetched("its rendition holds something else than files with plain names")
                if total > MOST_BYTES or len(names) >= MOST_FILES:
                    raise Unfetched("its rendition is larger than any may be")
                names.append(entry.name)
                content = tar.extractfile(entry)
                assert content is not None
                with content, writing(folder), (partial / entry.name).open("wb") as out:
                    shutil.copyfileobj(content, out, _CHUNK)
                if (partial / entry.name).stat().st_size != entry.size:
                    raise tarfile.ReadError("cut short")
        if MANIFEST not in names:
            raise tarfile.ReadError("there is no manifest in it")
        with lock, writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _merge(partial / MANIFEST, folder / MANIFEST, names)
            for name in sorted(names, key=lambda name: name == MANIFEST):
                (partial / name).replace(folder / name)
        return total
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _merge(new: Path, old: Path, came: list[str]) -> None:
    """Have a new manifest, whose files all `came`, also name what an old one names: pictures, or sound."""
    try:
        data = json.loads(new.read_text(encoding="utf-8"))
        before = json.loads(old.read_text(encoding="utf-8")) if old.exists() else {}
        data["audio"] = tracks_of(data["audio"])
        named = [each["file"] for each in (*data["pictures"], *data["audio"])]
        data["pictures"] = data["pictures"] or before.get("pictures", [])
        data["audio"] = data["audio"] or tracks_of(before.get("audio"))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Unfetched("its rendition's manifest cannot be read") from None
    if not set(named) <= set(came):
        raise tarfile.ReadError("cut short")
    new.write_text(json.dumps(data), encoding="utf-8")


class _Stream:
    """What comes piece by piece, to be read as a file."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def finish(self) -> None:
        """Hear the answer to its end: only then does the connection serve the next request."""
        for _ in range(8):
            if not next(self._pieces, b""):
                return
