"""What a box may ask of the gateway: hello, items, results, a sign of life; renditions and models."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from typing import TypeVar

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jobs.task import find_task
from mediaflow.catalog.database import connect as open_catalog
from mediaflow.errors import MediaflowError
from mediaflow.fleet.leaving import may_leave
from mediaflow.fleet.ledger import Box
from mediaflow.fleet.settings import load_fleet
from mediaflow.media.cache import rendition_folder
from mediaflow.media.rendition import Rendition
from mediaflow.models.identity import required_models
from mediaflow.models.registry import find_model
from mediaflow.queues.arguments import Form
from mediaflow.service.links import Links
from mediaflow.settings import configs, load_settings, models_home
from workers.gateway import answers, archive
from workers.gateway.answers import Beat, Hello, Results, Take
from workers.gateway.boxes import Boxes
from workers.gateway.desk import Desk, Piece

log = logging.getLogger("mediaflow.gateway")

# Seconds in which a request's body must have come, and for which a box that asks for items is kept waiting.
BODY_SECONDS = 120.0
TAKE_SECONDS = 20.0
LOOK_SECONDS = 0.1
# A box says hello once in so many seconds.
HELLO_SECONDS = 1.0

F = TypeVar("F", bound=Form)
Answer = Callable[["Gateway", Request, Box], Awaitable[Response]]


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
        self.posting: dict[str, asyncio.Lock] = {}
        self.greeted: dict[str, float] = {}

    def application(self) -> Starlette:
        """The application to be served."""
        application = Starlette(
            routes=[
                Route("/box/hello", self._for_box(hello), methods=["POST"]),
                Route("/box/take", self._for_box(take), methods=["POST"]),
                Route("/box/results", self._for_box(results), methods=["POST"]),
                Route("/box/beat", self._for_box(beat), methods=["POST"]),
                Route("/renditions/{asset}.tar", self._for_box(rendition), methods=["GET"]),
                Route("/models/{name}/{file:path}", self._for_box(model), methods=["GET"]),
            ],
            exception_handlers={HTTPException: _refusal, MediaflowError: _trouble, sqlite3.Error: _trouble},
        )
        application.router.redirect_slashes = False
        return application

    def order(self, box: Box) -> str:
        """What a box is to do: work, drain, or end."""
        if box.trouble:
            return "end"
        return "drain" if box.state == "draining" else "work"

    def _for_box(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            # Before anything of the body is read.
            return await answer(self, request, await self._box(request))

        return endpoint

    async def _box(self, request: Request) -> Box:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise HTTPException(401)
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
        box = await run_in_threadpool(self.boxes.of_token, digest)
        if box is None:
            raise HTTPException(401)
        return box


async def _refusal(_: Request, error: Exception) -> Response:
    """No word of why; and the connection ends, so that no more of a body is taken."""
    assert isinstance(error, HTTPException)
    status = 404 if error.status_code == 405 else error.status_code
    return Response(status_code=status, headers={"connection": "close"})


async def _trouble(request: Request, error: Exception) -> Response:
    log.warning("%s: %s", request.url.path, error)
    return Response(status_code=503, headers={"connection": "close"})


def _answered(gateway: Gateway, box: Box, **content: object) -> Response:
    lease = max(0.0, box.lease - time.time())
    return JSONResponse({**content, "order": gateway.order(box), "lease": lease})


# --- reading what a box sends ---


async def _body(request: Request, most: int) -> bytes:
    """The body, of at most so many bytes. Raises HTTPException as soon as it is too large, or too slow."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415)
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise HTTPException(413)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise HTTPException(413)
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408) from None
    return bytes(body)


def _form(form: type[F], body: bytes) -> F:
    try:
        return form.model_validate(answers.read_json(body))
    except (ValidationError, ValueError):
        raise HTTPException(400) from None


# --- the requests ---


async def hello(gateway: Gateway, request: Request, box: Box) -> Response:
    """A box has started; it gets what it needs to work, and nothing that is secret."""
    said = _form(Hello, await _body(request, answers.MOST_OF_REQUEST))
    if time.monotonic() - gateway.greeted.get(box.label, float("-inf")) < HELLO_SECONDS:
        raise HTTPException(429)
    gateway.greeted[box.label] = time.monotonic()
    await run_in_threadpool(gateway.boxes.hello, box, said)
    settings = load_settings()
    return JSONResponse(
        {
            "label": box.label,
            "tasks": tasks_of_boxes(),
            "settings": settings.model_dump(mode="json"),
            "models": (configs() / "models.yaml").read_text("utf-8") if _has_models() else "models: {}\n",
            "lease": max(0.0, box.lease - time.time()),
        }
    )


def tasks_of_boxes() -> list[str]:
    """The tasks that boxes may have and that there are."""
    return [task for task in load_fleet().tasks() if task in load_settings().tasks]


def _has_models() -> bool:
    return (configs() / "models.yaml").exists()


async def take(gateway: Gateway, request: Request, box: Box) -> Response:
    """Items of a task, as soon as there are some."""
    wish = _form(Take, await _body(request, answers.MOST_OF_REQUEST))
    until = asyncio.get_running_loop().time() + TAKE_SECONDS
    given: list[Piece] = []
    while not given and gateway.order(box) == "work" and not gateway.ending:
        desk = gateway.boxes.desk(box)
        if desk is not None and wish.turn and (given := desk.given_in(wish.task, wish.turn)):
            break
        if desk is not None and not gateway.congested and (pieces := desk.waiting(wish.task, wish.most)):
            given = await run_in_threadpool(_give, desk, pieces)
            desk.remember_turn(wish.task, wish.turn, given)
        if given or asyncio.get_running_loop().time() > until or await request.is_disconnected():
            break
        await asyncio.sleep(LOOK_SECONDS)
    # Meanwhile it may have been told to drain, or its credential may be over.
    box = await gateway._box(request)  # noqa: SLF001 - of this module
    items = [
        {
            "id": piece.id,
            "model": piece.model,
            "item": {key: value for key, value in piece.item.items() if value is not None},
            "link": _link(gateway, piece, box),
        }
        for piece in given
    ]
    return _answered(gateway, box, items=items)


def _link(gateway: Gateway, piece: Piece, box: Box) -> str | None:
    if piece.item.get("texts") is not None:
        return None
    return gateway.links.to_rendition(piece.item["asset"], piece.task, box.label)


def _give(desk: Desk, pieces: list[Piece]) -> list[Piece]:
    """Put items into the box's hands, but those that may not leave."""
    given = []
    with closing(open_catalog()) as db:
        for piece in pieces:
            asset = piece.item["asset"]
            if not may_leave(db, asset, piece.task):
                desk.refuse(piece, "its files are not all in libraries that may leave")
                continue
            of_text = piece.item.get("texts") is not None
            rendition = None if of_text else Rendition.load(rendition_folder(asset))
            if rendition is None and not of_text:
                desk.refuse(piece, "its rendition is not there any more")
            elif desk.give(piece, answers.allowance(piece.item, rendition)):
                given.append(piece)
    return given


async def results(gateway: Gateway, request: Request, box: Box) -> Response:
    """Results of items in the box's hands; of others nothing is kept."""
    desk = gateway.boxes.desk(box)
    # One at a time: a box's answers may fill its own allowance and no more.
    async with gateway.posting.setdefault(box.label, asyncio.Lock()):
        # A finding that is too large alone can be told from the others if all of them can be read.
        most = answers.MOST_OF_REQUEST + 2 * (desk.allowance() if desk is not None else 0)
        body = await _body(request, min(most, answers.MOST_BYTES))
        async with gateway.reading:
            accepted = await run_in_threadpool(_accept, desk, body, box.label)
    if accepted is None:
        raise HTTPException(400)
    return _answered(gateway, await gateway._box(request), accepted=accepted)  # noqa: SLF001 - of this module


def _accept(desk: Desk | None, body: bytes, box: str) -> int | None:
    """Hand results to those who wait for them; how many. None where the body is not in its form."""
    try:
        found = Results.model_validate(answers.read_json(body)).results
    except (ValidationError, ValueError):
        return None
    accepted = 0
    for answer in found:
        piece = desk.in_hand(answer.id) if desk is not None else None
        if desk is None or piece is None:
            continue
        result = answers.result_of(piece, answer, box)
        accepted += desk.answer(answer.id, result)
    return accepted


async def beat(gateway: Gateway, request: Request, box: Box) -> Response:
    """A sign of life, and what the box has to say."""
    said = _form(Beat, await _body(request, answers.MOST_OF_REQUEST))
    if said.log:
        await run_in_threadpool(gateway.boxes.add_to_log, box.label, said.log)
    return _answered(gateway, box)


async def rendition(gateway: Gateway, request: Request, box: Box) -> Response:
    """The files that a task needs of an asset, to the box that has it in its hands."""
    asset, query = request.path_params["asset"], request.query_params
    named = {key: query.get(key, "") for key in ("task", "box", "until", "signature")}
    if named["box"] != box.label or not gateway.links.is_good(asset, **named):
        raise HTTPException(404)
    desk = gateway.boxes.desk(box)
    if desk is None or not desk.fetches(asset, named["task"]):
        raise HTTPException(404)
    found = await run_in_threadpool(Rendition.load, rendition_folder(asset))
    if found is None:
        raise HTTPException(404)
    parts = await run_in_threadpool(archive.parts_of, found, find_task(named["task"]).needs)
    return StreamingResponse(
        _counted(gateway, box, archive.tar(parts)),
        media_type="application/x-tar",
        headers={"content-length": str(archive.length(parts))},
    )


async def _counted(gateway: Gateway, box: Box, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        gateway.boxes.sent(box.label, len(chunk))
        yield chunk


async def model(gateway: Gateway, request: Request, box: Box) -> Response:
    """A file of a model that the box's tasks need."""
    name, file = request.path_params["name"], request.path_params["file"]
    if name not in {each for task in tasks_of_boxes() for each in required_models(task) if _is_listed(each)}:
        raise HTTPException(404)
    # Only a file that models.yaml names: what is asked for is compared, and is no part of a path before.
    found = next((each for each in find_model(name).files if each.name == file), None)
    path = models_home() / name / (found.name if found else "")
    if found is None or not path.is_file() or not gateway.boxes.counts(box.label, f"{name}/{file}"):
        raise HTTPException(404)
    gateway.boxes.sent(box.label, found.size)
    return FileResponse(path)


def _is_listed(name: str) -> bool:
    from mediaflow.models.registry import load_registry

    return _has_models() and name in load_registry()
