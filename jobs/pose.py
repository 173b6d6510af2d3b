"""Task `pose`: how the people in a picture stand, 33 keypoints each, by BlazePose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from jobs.agreement import Difference, same_time
from jobs.blazepose import KEYPOINTS, BlazePose, Body, Roi, pyramid_of
from jobs.pictures import open_picture
from jobs.schema import Pixel, Placed, Score
from jobs.task import Finding, Task, register
from mediaflow.media.rendition import Picture, Rendition
from mediaflow.models.store import model_folder
from mediaflow.queues.arguments import Form

# BlazePose's detector was made for one near person. To find groups it also looks at square tiles,
# whose sides are these fractions of the picture's longer side and which overlap by half.
TILES = (1 / 1.5, 1 / 2, 1 / 3)
# A rendition with more pictures than this (a long video) is looked at in whole pictures only.
TILED_PICTURES = 60
LEAST_DETECTED = 0.5
# How sure detector and landmark model must be together that there is a person: in the whole
# picture, in a tile, and in a tile of a picture in which somebody is certain. Tiles of pictures
# without people look like people often enough.
SURE, SURE_IN_TILE, SURE_IN_COMPANY = 0.35, 0.85, 0.4
# A body whose keypoints move by more than this share of its region when it is looked at again is none.
STEADY = 0.05
# Bodies whose keypoints are this near to each other, as a share of the smaller region, are one person.
SAME_PERSON = 0.12
# A body that is no certain person, inside another and smaller than this share of it, is a limb of that one.
LIMB = 0.6
# A person found on two machines: the keypoints are on the average no farther apart than this share of the
# person's height or width.
SAME_STAND = 0.1
# So many people without their like may be an honest difference.
MOST_ALONE = 2
SMALLEST_TILE = 64  # pixels
LARGEST = 1920  # pixels; a larger picture shows the models nothing more


# x, y, visibility: a list in JSON, hence not strict.
Keypoint = Annotated[tuple[Pixel, Pixel, Score], Field(strict=False)]


class PersonForm(Placed):
    score: Score
    keypoints: Annotated[list[Keypoint], Field(min_length=KEYPOINTS, max_length=KEYPOINTS)]


class PoseData(Form):
    """The people, as `mediaflow show --json` prints them."""

    people: Annotated[list[PersonForm], Field(max_length=50_000)]


@register
class Pose(Task):
    """33 keypoints of each person by BlazePose full (Google MediaPipe, Apache-2.0), on the CPU."""

    name = "pose"
    needs = "pictures"
    schema = PoseData

    @classmethod
    def agrees(cls, theirs: Finding, ours: Finding) -> Difference | None:
        """Whether the same people stand the same way; one more or less may be at the edge of being seen."""
        one, other = theirs.data["people"], ours.data["people"]
        same = _pairs_of(one, other)
        alone = len(one) + len(other) - 2 * same
        if not alone:
            return None
        said = f"{same} of {len(one)} people stand as ours do, who are {len(other)}"
        return Difference(said, gross=alone > MOST_ALONE and alone > same)

    def load(self) -> None:
        """Load detector and landmark model with this task's number of threads."""
        task = self.settings.tasks[self.name]
        self._model = BlazePose(model_folder(task.model), task.threads)

    def analyse(self, batch: Sequence[Rendition]) -> list[Finding]:
        """One finding for each rendition, its pictures opened one at a time."""
        return [Finding({"people": list(self._entries(rendition))}) for rendition in batch]

    def _entries(self, rendition: Rendition) -> Iterator[dict[str, Any]]:
        tiles = TILES if len(rendition.pictures) <= TILED_PICTURES else ()
        for picture in rendition.pictures:
            image, shrunk = _shrink(np.asarray(open_picture(rendition, picture)))
            for body in people(self._model, image, tiles):
                yield _entry(body, picture, picture.scale * shrunk)


def people(model: BlazePose, image: np.ndarray, tiles: Sequence[float] = TILES) -> list[Body]:
    """The people in an RGB image (height, width, 3) uint8, surest first, in its pixels; scores 0 to 1."""
    pyramid = pyramid_of(image)
    certain: list[Body] = []
    possible: list[Body] = []
    for detected, roi, in_tile in sorted(_detections(model, image, tiles), key=lambda found: -found[0]):
        if any(_is_there(roi, body.roi) for body in certain):
            continue
        body = _look(model, pyramid, roi, detected)
        if body.score >= (SURE_IN_TILE if in_tile else SURE):
            certain.append(body)
        elif body.score >= SURE_IN_COMPANY:
            possible.append(body)
    kept: list[Body] = []
    for body in sorted(certain, key=lambda body: -body.score):
        if not any(_is_same(body, other) for other in kept):
            kept.append(body)
    for body in sorted(possible if kept else [], key=lambda body: -body.score):
        if not any(_is_same(body, other) or _is_part(body, other) for other in kept):
            kept.append(body)
    return kept


def _pairs_of(theirs: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> int:
    """How many people of two findings are the same and stand the same way, each of them one time."""
    free = list(ours)
    for person in theirs:
        like = next((other for other in free if _stands_like(person, other)), None)
        if like is not None:
            free.remove(like)
    return len(ours) - len(free)


def _stands_like(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one.get("page") != other.get("page") or not same_time(one.get("time"), other.get("time")):
        return False
    points, others = (np.array(person["keypoints"])[:, :2] for person in (one, other))
    size = float(np.ptp(others, axis=0).max())
    return float(np.linalg.norm(points - others, axis=1).mean()) <= SAME_STAND * max(size, 1.0)


def _detections(
    model: BlazePose, image: np.ndarray, tiles: Sequence[float]
) -> Iterator[tuple[float, Roi, bool]]:
    """Score and region of what may be a person, and whether it was seen in a tile only."""
    for score, roi in model.detect(image, LEAST_DETECTED):
        yield score, roi, False
    height, width = image.shape[:2]
    for fraction in tiles:
        side = int(max(height, width) * fraction)
        if side < SMALLEST_TILE:
            continue
        for top in _starts(height, side):
            for left in _starts(width, side):
                tile = np.ascontiguousarray(image[top : top + side, left : left + side])
                for score, roi in model.detect(tile, LEAST_DETECTED):
                    yield score, Roi(roi.x + left, roi.y + top, roi.side, roi.angle), True


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin that cover a length and overlap by half at least."""
    if length <= side:
        return [0]
    return [
        int(start) for start in np.linspace(0, length - side, math.ceil((length - side) / (side / 2)) + 1)
    ]


def _look(model: BlazePose, pyramid: Sequence[np.ndarray], roi: Roi, detected: float) -> Body:
    """The body in a region, looked at again in the region it turns out to fill; scored by all of it."""
    first = model.landmarks(pyramid, roi)
    again = model.landmarks(pyramid, first.roi)
    moved = np.hypot(*(first.keypoints - again.keypoints)[:, :2].T).mean()
    score = detected * first.score * again.score if moved < STEADY * again.roi.side else 0.0
    return Body(score, again.keypoints, again.roi)


def _is_there(roi: Roi, other: Roi) -> bool:
    """Whether two regions are so nearly one that looking again is of no use."""
    apart = math.hypot(roi.x - other.x, roi.y - other.y)
    return apart < 0.1 * min(roi.side, other.side) and 1 / 1.3 < roi.side / other.side < 1.3


def _is_same(one: Body, other: Body) -> bool:
    """Whether two bodies are one person: their keypoints, weighted by visibility, lie together."""
    weights = one.keypoints[:, 2] * other.keypoints[:, 2] + 1e-3
    apart = np.hypot(*(one.keypoints - other.keypoints)[:, :2].T)
    return bool(np.average(apart, weights=weights) < SAME_PERSON * min(one.roi.side, other.roi.side))


def _is_part(body: Body, other: Body) -> bool:
    """Whether a body is a limb of a larger one, taken for somebody."""
    low, high = other.keypoints[:, :2].min(0), other.keypoints[:, :2].max(0)
    inside = low[0] <= body.roi.x <= high[0] and low[1] <= body.roi.y <= high[1]
    return bool(inside and body.roi.side < LIMB * other.roi.side)


def _shrink(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The image made no larger than LARGEST, and its scale."""
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, LARGEST / max(height, width))
    if scale == 1.0:
        return image, scale
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, sides, interpolation=cv2.INTER_AREA), scale


def _entry(body: Body, picture: Picture, scale: float) -> dict[str, Any]:
    points = [
        [round(float(x) / scale, 1), round(float(y) / scale, 1), round(float(visible), 3)]
        for x, y, visible in body.keypoints
    ]
    entry: dict[str, Any] = {"score": round(body.score, 3), "keypoints": points}
    if picture.time is not None:
        entry["time"] = round(picture.time, 3)
    if picture.page is not None:
        entry["page"] = picture.page
    return entry
