"""What all requests of boxes share: whose they are, what is read of them, and how they are answered."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from mediaflow.fleet.ledger import Box
from mediaflow.fleet.settings import load_fleet
from mediaflow.queues.arguments import Form
from mediaflow.service.links import Links
from mediaflow.settings import load_settings
from workers.gateway import answers
from workers.gateway.boxes import Boxes
from workers.gateway.welcome import is_folder

# Seconds in which a request's body must have come; of larger bodies one at a time is held.
BODY_SECONDS = 120.0
LARGE, LARGE_SECONDS = 1_000_000, 30.0

F = TypeVar("F", bound=Form)


class Gateway:
    """What the requests share: the boxes, the key of links, and whether results can be stored now."""

    def __init__(self, boxes: Boxes, links: Links) -> None:
        self.boxes, self.links = boxes, links
        # Set by the gateway's loop while the queue could not take more results: nothing is given out then.
        self.congested = False
        # Set when the process is to end: nobody is kept waiting any more.
        self.ending = False
        # JSON of results is read one at a time: it is many times larger when it is read.
        self.reading = asyncio.Lock()
        self.large = asyncio.Lock()
        self.posting: dict[str, asyncio.Lock] = {}
        self.greeted: dict[str, float] = {}
        # Of each file of a model by box: the bytes that were sent, and the answers under way.
        self.fetched: Counter[tuple[str, Path]] = Counter()
        self.fetching: Counter[tuple[str, Path]] = Counter()

    def order(self, box: Box) -> str:
        """What a box is to do: work, drain, or end."""
        if box.trouble:
            return "end"
        return "drain" if box.state == "draining" else "work"

    async def box_of(self, request: Request) -> Box:
        """The box whose credential a request has. Raises HTTPException where it is not good (now)."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise HTTPException(401)
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
        box = await run_in_threadpool(self.boxes.of_token, digest)
        if box is None:
            raise HTTPException(401)
        return box

    def answered(self, box: Box, **content: object) -> Response:
        """An answer with what the box is to do, and for how many seconds its credential is good."""
        lease = max(0.0, box.lease - time.time())
        return JSONResponse({**content, "order": self.order(box), "lease": lease})


def tasks_of_boxes() -> list[str]:
    """The tasks that boxes may have and that there are; none whose model is a folder of this machine."""
    settings = load_settings()
    folders = any(map(is_folder, (settings.spaces.image, settings.spaces.text)))
    known = [task for task in load_fleet().tasks() if task in settings.tasks]
    return [task for task in known if not (task == "embed" and folders)]


def is_large(request: Request) -> bool:
    """Whether the body is large, or does not say how long it is."""
    length = request.headers.get("content-length", "")
    return not length.isdecimal() or int(length) > LARGE


async def read_body(request: Request, most: int) -> bytearray:
    """The body, of at most so many bytes. Raises HTTPException as soon as it is too large, or too slow."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415)
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise HTTPException(413)
    body = bytearray()
    try:
        async with asyncio.timeout(LARGE_SECONDS if is_large(request) else BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise HTTPException(413)
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408) from None
    return body


def read_form(form: type[F], body: bytearray) -> F:
    """A body in its form. Raises HTTPException."""
    try:
        return form.model_validate(answers.read_json(body))
    except (ValidationError, ValueError):
        raise HTTPException(400) from None
