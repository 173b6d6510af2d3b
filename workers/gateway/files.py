"""Files that boxes fetch: the renditions of what they have in their hands, and models of their tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

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
    if found is None or not path.is_file() or not gateway.boxes.counts(box.label, f"{name}/{file}"):
        raise HTTPException(404)
    gateway.boxes.sent(box.label, found.size)
    return FileResponse(path)


def _is_listed(name: str) -> bool:
    return (configs() / "models.yaml").exists() and name in load_registry()
