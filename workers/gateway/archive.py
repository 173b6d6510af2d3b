"""The files of a rendition that a task needs, as a tar that is made while it is sent."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from starlette.concurrency import run_in_threadpool

from mediaflow.media.rendition import MANIFEST, Rendition

CHUNK = 256 * 1024
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the tar: its bytes, or where they are."""

    name: str
    size: int
    content: bytes | Path


def parts_of(rendition: Rendition, needs: Literal["pictures", "audio"]) -> list[Part]:
    """The manifest and the files that are needed. Of the original the manifest says nothing but its kind."""
    pictures = rendition.pictures if needs == "pictures" else ()
    audio = rendition.audio if needs == "audio" else ()
    # When and where it was taken is nobody's business but the owner's, and no task reads it.
    said = asdict(replace(rendition, pictures=pictures, audio=audio, media={}, thumbnail=None))
    del said["folder"]
    manifest = json.dumps(said).encode()
    names = [picture.file for picture in pictures] + [track.file for track in audio]
    files = [rendition.path(Path(name).name) for name in names]
    return [
        Part(MANIFEST, len(manifest), manifest),
        *(Part(file.name, file.stat().st_size, file) for file in files),
    ]


def length(parts: list[Part]) -> int:
    """How many bytes the tar has."""
    return sum(_BLOCK + part.size + _padding(part.size) for part in parts) + 2 * _BLOCK


async def tar(parts: list[Part]) -> AsyncIterator[bytes]:
    """The tar, in pieces; holds one of them. Raises EOFError for a file that became shorter meanwhile."""
    for part in parts:
        head = tarfile.TarInfo(part.name)
        head.size = part.size
        yield head.tobuf(tarfile.USTAR_FORMAT)
        left = part.size
        with io.BytesIO(part.content) if isinstance(part.content, bytes) else part.content.open("rb") as file:
            while left:
                chunk = await run_in_threadpool(file.read, min(CHUNK, left))
                if not chunk:
                    raise EOFError(f"{part.name} has become shorter")
                left -= len(chunk)
                yield chunk
        yield bytes(_padding(part.size))
    yield bytes(2 * _BLOCK)


def _padding(size: int) -> int:
    return -size % _BLOCK
