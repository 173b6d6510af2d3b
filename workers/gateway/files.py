"""Files that boxes fetch: the renditions of what they have in their hands, and models of their tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from jobs.task import find_task
from mediaflow.catalog.database import connect as open_catalog
from mediaflow.fleet.leaving import may_leave
from mediaflow.fleet.ledger import Box
from mediaflow.media.cache import rendition_folder
from mediaflow.media.rendition import Rendition
from mediaflow.models.identity import required_models
from mediaflow.models.registry import find_model, load_registry
from mediaflow.settings import configs, models_home
from workers.gateway import archive
from workers.gateway.gateway import Gateway, tasks_of_boxes

# A box that fetches a file in parts, after cuts, gets so many times its size, and so many answers at once.
MOST_TIMES, MOST_AT_ONCE = 3, 4


async def rendition(gateway: Gateway, request: Request, box: Box) -> Response:
    """The files that a task needs of an asset, to the box that has it in its hands."""
    asset, query = request.path_params["asset"], request.query_params
    named = {key: query.get(key, "") for key in ("task", "box", "until", "signature")}
    if named["box"] != box.label or not gateway.links.is_good(asset, **named):
        raise HTTPException(404)
    desk = gateway.boxes.desk(box)
    if desk is None or not desk.fetches(asset, named["task"]):
        raise HTTPException(404)
    found = await run_in_threadpool(_rendition, asset, named["task"])
    if found is None:
        desk.keep_home(asset, named["task"], "its files are not there, or may not leave any more")
        raise HTTPException(404)
    parts = await run_in_threadpool(archive.parts_of, found, find_task(named["task"]).needs)
    return StreamingResponse(
        _counted(gateway, box, archive.tar(parts)),
        media_type="application/x-tar",
        headers={"content-length": str(archive.length(parts))},
    )


def _rendition(asset: str, task: str) -> Rendition | None:
    """An asset's rendition, unless a copy in a private library turned up since the item was handed out."""
    with closing(open_catalog()) as db:
        return Rendition.load(rendition_folder(asset)) if may_leave(db, asset, task) else None


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
    if found is None or not path.is_file():
        raise HTTPException(404)
    if gateway.fetched[box.label, path] >= MOST_TIMES * found.size:
        raise HTTPException(404)
    if gateway.fetching[box.label, path] >= MOST_AT_ONCE:
        raise HTTPException(429)
    return CountedFile(gateway, box.label, path)


class CountedFile(FileResponse):
    """A file, or the part of it that is asked for, whose bytes are counted as they are sent."""

    def __init__(self, gateway: Gateway, box: str, path: Path) -> None:
        super().__init__(path)
        self._gateway, self._box, self._file = gateway, box, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            size = len(message.get("body", b""))
            self._gateway.boxes.sent(self._box, size)
            self._gateway.fetched[self._box, self._file] += size
            await send(message)

        self._gateway.fetching[self._box, self._file] += 1
        try:
            await super().__call__(scope, receive, counted)
        finally:
            self._gateway.fetching[self._box, self._file] -= 1


def _is_listed(name: str) -> bool:
    return (configs() / "models.yaml").exists() and name in load_registry()
