"""What a box may ask of the gateway: hello, items, results, a sign of life, and files."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, nullcontext

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobs.weight import weight_of
from mediaflow.catalog.database import connect as open_catalog
from mediaflow.errors import MediaflowError
from mediaflow.fleet.leaving import may_leave
from mediaflow.fleet.ledger import Box
from mediaflow.media.cache import rendition_folder
from mediaflow.media.rendition import Rendition
from mediaflow.settings import load_settings
from workers.gateway import answers, files
from workers.gateway.answers import Beat, Hello, Results, Take
from workers.gateway.batch import Piece
from workers.gateway.desk import Desk
from workers.gateway.gateway import Gateway, is_large, read_body, read_form, tasks_of_boxes
from workers.gateway.rate_limit import RateLimit
from workers.gateway.welcome import models_for, settings_for

log = logging.getLogger("mediaflow.gateway")

# Seconds for which a box that asks for items is kept waiting, and between two looks for some.
TAKE_SECONDS = 20.0
LOOK_SECONDS = 0.1
# A box says hello once in so many seconds.
HELLO_SECONDS = 1.0
# Requests a second of one box: an honest one with the fastest GPU needs less.
TAKES, POSTS, BEATS, FETCHES = 50.0, 100.0, 5.0, 400.0

Answer = Callable[[Gateway, Request, Box], Awaitable[Response]]


def application(gateway: Gateway) -> Starlette:
    """The application to be served."""

    def for_box(answer: Answer, per_second: float) -> Callable[[Request], Awaitable[Response]]:
        limit = RateLimit(per_second)

        async def endpoint(request: Request) -> Response:
            # Before anything of the body is read.
            box = await gateway.box_of(request)
            if not limit.allows(box.label):
                raise HTTPException(429)
            return await answer(gateway, request, box)

        return endpoint

    application = Starlette(
        routes=[
            Route("/box/hello", for_box(hello, BEATS), methods=["POST"]),
            Route("/box/take", for_box(take, TAKES), methods=["POST"]),
            Route("/box/results", for_box(results, POSTS), methods=["POST"]),
            Route("/box/beat", for_box(beat, BEATS), methods=["POST"]),
            Route("/renditions/{asset}.tar", for_box(files.rendition, FETCHES), methods=["GET"]),
            Route("/models/{name}/{file:path}", for_box(files.model, BEATS), methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refusal, MediaflowError: _trouble, sqlite3.Error: _trouble},
    )
    application.router.redirect_slashes = False
    return application


async def _refusal(_: Request, error: Exception) -> Response:
    """No word of why; and the connection ends, so that no more of a body is taken."""
    assert isinstance(error, HTTPException)
    status = 404 if error.status_code == 405 else error.status_code
    return Response(status_code=status, headers={"connection": "close"})


async def _trouble(request: Request, error: Exception) -> Response:
    log.warning("%s: %s", answers.shown(request.url.path), answers.shown(str(error)))
    return Response(status_code=503, headers={"connection": "close"})


async def hello(gateway: Gateway, request: Request, box: Box) -> Response:
    """A box has started; it gets what it needs to work, and nothing that is secret."""
    said = read_form(Hello, await read_body(request, answers.MOST_OF_REQUEST))
    if time.monotonic() - gateway.greeted.get(box.label, float("-inf")) < HELLO_SECONDS:
        raise HTTPException(429)
    gateway.greeted[box.label] = time.monotonic()
    await run_in_threadpool(gateway.boxes.hello, box, said)
    tasks = tasks_of_boxes()
    return JSONResponse(
        {
            "label": box.label,
            "tasks": tasks,
            "settings": settings_for(load_settings(), tasks),
            "models": models_for(tasks),
            "lease": max(0.0, box.lease - time.time()),
        }
    )


async def take(gateway: Gateway, request: Request, box: Box) -> Response:
    """Items of a task, as soon as there are some."""
    wish = read_form(Take, await read_body(request, answers.MOST_OF_REQUEST))
    if wish.task not in tasks_of_boxes():
        raise HTTPException(404)
    given: list[Piece] = []
    try:
        await _wait_for_items(gateway, request, box, wish, given)
        # Meanwhile it may have been told to drain, or its credential may be over.
        return _items(gateway, await gateway.box_of(request), given)
    except BaseException:
        # It does not learn that it has them.
        if desk := gateway.boxes.desk(box):
            desk.take_back(given)
        raise


async def _wait_for_items(
    gateway: Gateway, request: Request, box: Box, wish: Take, given: list[Piece]
) -> None:
    """Put items into the box's hands, and into `given`, as soon as there are some."""
    until = asyncio.get_running_loop().time() + TAKE_SECONDS
    while not given and gateway.order(box) == "work" and not gateway.ending:
        desk = gateway.boxes.desk(box)
        if desk is not None and not gateway.congested and (pieces := desk.waiting(wish.task, wish.most)):
            await run_in_threadpool(_give, desk, pieces, given)
        if given or asyncio.get_running_loop().time() > until or await request.is_disconnected():
            break
        await asyncio.sleep(LOOK_SECONDS)


def _items(gateway: Gateway, box: Box, given: list[Piece]) -> Response:
    items = [
        {
            "id": piece.id,
            "model": piece.model,
            "weight": piece.weight,
            "item": {key: value for key, value in piece.item.items() if value is not None},
            "link": _link(gateway, piece, box),
        }
        for piece in given
    ]
    return gateway.answered(box, items=items)


def _link(gateway: Gateway, piece: Piece, box: Box) -> str | None:
    if piece.item.get("texts") is not None:
        return None
    return gateway.links.to_rendition(piece.item["asset"], piece.task, box.label)


def _give(desk: Desk, pieces: list[Piece], given: list[Piece]) -> None:
    """Put items into the box's hands, and into `given`, but those that may not leave."""
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
                continue
            piece.weight = weight_of(piece.item, piece.task, rendition)
            parts = len(rendition.pictures if rendition else piece.item["texts"])
            if desk.give(piece, answers.allowance(piece.item, rendition), parts):
                given.append(piece)


async def results(gateway: Gateway, request: Request, box: Box) -> Response:
    """Results of items in the box's hands; of others nothing is kept."""
    desk = gateway.boxes.desk(box)
    # One at a time: a box's answers may fill its own allowance and no more.
    async with gateway.posting.setdefault(box.label, asyncio.Lock()):
        # A finding that is too large alone can be told from the others if all of them can be read.
        most = answers.MOST_OF_REQUEST + 2 * (desk.allowance() if desk is not None else 0)
        async with gateway.large if is_large(request) else nullcontext():
            body = await read_body(request, min(most, answers.MOST_BYTES))
        async with gateway.reading:
            accepted = await run_in_threadpool(_accept, gateway, desk, body, box.label)
    if accepted is None:
        raise HTTPException(400)
    return gateway.answered(await gateway.box_of(request), accepted=accepted)


def _accept(gateway: Gateway, desk: Desk | None, body: bytearray, box: str) -> int | None:
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
        result = answers.result_of(piece, answer, box, alone=gateway.boxes.is_alone(box, piece.task))
        accepted += desk.answer(answer.id, result)
    return accepted


async def beat(gateway: Gateway, request: Request, box: Box) -> Response:
    """A sign of life, and what the box has to say."""
    said = read_form(Beat, await read_body(request, answers.MOST_OF_REQUEST))
    await run_in_threadpool(gateway.boxes.beat, box, said)
    return gateway.answered(box)
