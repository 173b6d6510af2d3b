"""What a worker's child does with the items of a queue: prepare files, analyse renditions, embed text."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jobs.task import Finding, Task, find_task
from mediaflow.errors import MediaError, NotMediaError
from mediaflow.media.cache import rendition_folder, size_of
from mediaflow.media.content import HEAD, described, foreign, hash_of, image_name, recording_name
from mediaflow.media.kinds import claims_medium
from mediaflow.media.rendition import Rendition
from mediaflow.models.device import at_once
from mediaflow.settings import load_settings

Item = dict[str, Any]
Result = dict[str, Any]


def handler_for(queue: str) -> Prepare | Analyse:
    """The handler for a queue: `prepare`, or the task of that name."""
    return Prepare() if queue == "prepare" else Analyse(find_task(queue)(load_settings()))


class Prepare:
    """Hashes and decodes an original and leaves its rendition: the only reader of untrusted files.

    An item is {"path", "root", "asset"}: the submitted root that the path is beneath, and the hash where
    the path is known to hold it still; a result
    {"asset", "kind", "media", "bytes", "pictures", "audio", "rendition_bytes"}.
    """

    together = 1

    def load(self) -> None:
        self.settings = load_settings()

    def handle(self, items: Sequence[Item]) -> list[Result]:
        return [self._prepare(item) for item in items]

    def _prepare(self, item: Item) -> Result:
        from mediaflow.media.originals import open_original

        with open_original(os.fsencode(item["path"]), os.fsencode(item["root"])) as file:
            if claims_medium(Path(item["path"]).name):
                return self._prepared(file, item["asset"])
            # Most files without a medium's name are none: that is seen before gigabytes of them are hashed.
            head = file.read(HEAD)
            file.seek(0)
            if not head:
                raise NotMediaError("the file is empty")
            if described(head):
                raise NotMediaError(foreign(head))
            try:
                return self._prepared(file, item["asset"])
            except MediaError as error:
                if not error.permanent or image_name(head) or recording_name(head):
                    raise
                raise NotMediaError(foreign(head)) from error

    def _prepared(self, file: BinaryIO, known: str | None) -> Result:
        """Make the rendition of an open original unless it is there; `known` is the hash, if unchanged."""
        from mediaflow.media.originals import state
        from mediaflow.media.prepare import render

        rendition = Rendition.load(rendition_folder(known)) if known else None
        asset = known if known and rendition else hash_of(file)
        folder = rendition_folder(asset)
        rendition = rendition or Rendition.load(folder) or render(file, folder, self.settings, asset)
        return {
            "asset": asset,
            "kind": rendition.kind,
            "media": rendition.media,
            "bytes": state(file)[0],
            "pictures": len(rendition.pictures),
            "audio": bool(rendition.audio),
            "rendition_bytes": size_of(rendition),
        }


class Analyse:
    """Runs one task on renditions, and the embed task also on text.

    An item is {"asset"}, or {"asset", "source", "texts"}; a result {"data", "vectors"} with the
    vectors' values as base64 of little-endian float16.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.together = at_once(task.settings, task.together)

    def load(self) -> None:
        self.task.load()

    def handle(self, items: Sequence[Item]) -> list[Result]:
        if any("texts" in item for item in items):
            return [
                self._embed_texts(item) if "texts" in item else self._analyse([item])[0] for item in items
            ]
        return self._analyse(items)

    def _analyse(self, items: Sequence[Item]) -> list[Result]:
        findings = self.task.analyse([_rendition(item["asset"]) for item in items])
        return [_result(finding) for finding in findings]

    def _embed_texts(self, item: Item) -> Result:
        values = self.task.encode_texts(item["texts"])  # type: ignore[attr-defined]
        vectors = [
            {"space": self.task.text_space, "ordinal": ordinal, "value": _base64(value)}  # type: ignore[attr-defined]
            for ordinal, value in enumerate(values)
        ]
        return {"data": {}, "vectors": vectors}


def _rendition(asset: str) -> Rendition:
    rendition = Rendition.load(rendition_folder(asset))
    if rendition is None:
        raise MediaError("its rendition is not there any more; submit again to make it", permanent=False)
    return rendition


def _result(finding: Finding) -> Result:
    vectors = [
        {
            "space": vector.space,
            "ordinal": ordinal,
            "page": vector.page,
            "time": vector.time,
            "value": _base64(vector.values),
        }
        for ordinal, vector in enumerate(finding.vectors)
    ]
    return {"data": finding.data, "vectors": vectors}


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f2").tobytes()).decode()
