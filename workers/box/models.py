"""A box's models: from the sources of models.yaml, as everywhere, and else from the gateway."""

from __future__ import annotations

import logging
import random
import urllib.parse
from pathlib import Path

from mediaflow.disk import writing
from mediaflow.errors import ModelError
from mediaflow.models import store
from mediaflow.models.identity import required_models
from mediaflow.models.registry import ModelFile
from mediaflow.settings import models_home
from workers.box.life import Life, Over
from workers.box.link import FIRST_PAUSE, LONGEST_PAUSE, Cut, Link, Refused

log = logging.getLogger("mediaflow.box")


def bring_models(task: str, link: Link, life: Life) -> None:
    """Have all models of a task, verified by SHA-256. Raises ModelError where one cannot be had, and Over."""
    for name in required_models(task):
        try:
            store.pull([name])
        except ModelError as error:
            log.info("The gateway is asked for %s: %s", name, str(error).split("\n")[0])
            for file in store.missing_files(name):
                _from_gateway(name, file, link, life)


def _from_gateway(name: str, file: ModelFile, link: Link, life: Life) -> None:
    came = models_home() / name / f".{file.sha256}"
    path = model_path(name, file.name)
    pause = FIRST_PAUSE
    while not life.over():
        try:
            _download(path, came, file.size, link, life)
        except Cut as error:
            log.warning("%s of %s: %s", file.name, name, error)
            life.wait(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, LONGEST_PAUSE)
        except Refused as error:
            raise ModelError(f"Model {name}: {file.name}: {error}.") from None
        else:
            store.put(name, file, came)
            return
    raise Over(life.reason)


def model_path(name: str, file: str) -> str:
    """Where the gateway has a file of a model."""
    return f"/models/{urllib.parse.quote(name)}/{urllib.parse.quote(file)}"


def _download(path: str, target: Path, size: int, link: Link, life: Life) -> None:
    """Fetch a file, from where it was cut the last time. Raises Cut, Refused and Over."""
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as out:
            if (have := out.tell()) >= size:
                return
            with link.stream(path, have) as response:
                if not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
                    out.truncate(0)  # the gateway begins anew
                for piece in response.iter_bytes(1 << 18):
                    out.write(piece)
                    if out.tell() > size:
                        break  # its SHA-256 will not be right
                    if life.over():
                        raise Over(life.reason)
