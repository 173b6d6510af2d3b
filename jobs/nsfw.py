"""Task `nsfw`: how likely a picture shows pornography, by Yahoo's open_nsfw."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from jobs.agreement import Difference
from jobs.pictures import open_picture
from jobs.schema import Placed, Score
from jobs.task import Finding, Task, register
from mediaflow.media.rendition import Picture, Rendition
from mediaflow.models.device import at_once
from mediaflow.models.encoders.session import open_session
from mediaflow.models.store import model_folder
from mediaflow.queues.arguments import Form

if TYPE_CHECKING:
    from PIL import Image

# Yahoo's guidance for this model: below 0.2 safe, above 0.8 not safe, between them a person should look.
SAFE_BELOW = 0.2
UNSAFE_ABOVE = 0.8
WORST = 5
# Scores of one picture on two machines: more than the first apart they differ, more than the second they are
# of different pictures.
SAME_SCORE, OTHER_SCORE = 0.05, 0.3
# Pictures per run of the model: more gain no speed on a CPU, and this bounds the memory of long videos.
PICTURES_PER_RUN = 16
# Channel means of the training set, in the order blue, green, red.
BGR_MEAN = np.array([104.0, 117.0, 123.0], dtype=np.float32)


class Scored(Placed):
    score: Score


class NsfwData(Form):
    """The highest score, the verdict on it, and the pictures that it comes from."""

    score: Score
    verdict: Literal["safe", "unsure", "unsafe"]
    worst: Annotated[list[Scored], Field(max_length=WORST)]


@register
class Nsfw(Task):
    """Scores 0 to 1 by open_nsfw (ResNet-50-thin, Yahoo 2016, BSD-2-Clause); it knows pornography only."""

    name = "nsfw"
    needs = "pictures"
    together: ClassVar[int] = PICTURES_PER_RUN
    schema = NsfwData

    @classmethod
    def agrees(cls, theirs: Finding, ours: Finding) -> Difference | None:
        """Whether the scores are nearly the same, and the verdict is that of the score."""
        one, other = theirs.data, ours.data
        if one["verdict"] != verdict(one["score"]) or len(one["worst"]) != len(other["worst"]):
            return Difference(f"{one['verdict']} is not what its scores say", gross=True)
        scores = [(one["score"], other["score"])]
        scores += [(a["score"], b["score"]) for a, b in zip(one["worst"], other["worst"], strict=True)]
        apart = max(abs(a - b) for a, b in scores)
        if apart <= SAME_SCORE:
            return None
        return Difference(f"a score is {apart:.2f} from ours", gross=apart > OTHER_SCORE)

    def load(self) -> None:
        """Open the model with this task's number of threads."""
        path = model_folder(self.settings.tasks[self.name].model) / "open_nsfw.onnx"
        self._session = open_session(path, self.settings, self.name)
        self._input = self._session.get_inputs()[0].name

    def analyse(self, batch: Sequence[Rendition]) -> list[Finding]:
        """One finding for each rendition; the pictures of all of them share the runs of the model."""
        scores: list[list[tuple[float, Picture]]] = [[] for _ in batch]
        queue = ((index, picture) for index, rendition in enumerate(batch) for picture in rendition.pictures)
        for chunk in _chunks(queue, at_once(self.settings, PICTURES_PER_RUN)):
            images = np.stack([prepare(open_picture(batch[index], picture)) for index, picture in chunk])
            for (index, picture), score in zip(chunk, self.score(images), strict=True):
                scores[index].append((float(score), picture))
        return [Finding(summarise(of_one)) for of_one in scores]

    def score(self, images: np.ndarray) -> np.ndarray:
        """Probability of "not safe for work" (N,) float32 of prepared images (N, 224, 224, 3)."""
        probabilities: np.ndarray = self._session.run(None, {self._input: images})[0]
        return probabilities[:, 1]


def prepare(image: Image.Image) -> np.ndarray:
    """An RGB image as the model was trained on: (224, 224, 3) float32, BGR, mean subtracted.

    Squeezed to 256 x 256, through JPEG once (the training images were JPEG files, scores move by some
    hundredths without), and the middle 224 x 224 cut out: yahoo/open_nsfw, classify_nsfw.py.
    """
    from PIL import Image

    squeezed = image.resize((256, 256), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    squeezed.save(buffer, format="JPEG")
    with Image.open(buffer) as reopened:
        pixels = np.asarray(reopened.convert("RGB"), dtype=np.float32)
    middle = pixels[16:240, 16:240, ::-1]
    return np.ascontiguousarray(middle - BGR_MEAN)


def verdict(score: float) -> str:
    """`safe`, `unsure` or `unsafe`, by Yahoo's guidance for open_nsfw."""
    if score < SAFE_BELOW:
        return "safe"
    return "unsafe" if score > UNSAFE_ABOVE else "unsure"


def summarise(scores: Sequence[tuple[float, Picture]]) -> dict[str, Any]:
    """The finding of one asset: its highest score, the verdict on it, the worst pictures first."""
    ranked = sorted(scores, key=lambda pair: -pair[0])[:WORST]
    worst = [_entry(score, picture) for score, picture in ranked]
    highest = worst[0]["score"] if worst else 0.0
    return {"score": highest, "verdict": verdict(highest), "worst": worst}


def _entry(score: float, picture: Picture) -> dict[str, Any]:
    entry: dict[str, Any] = {"score": round(score, 4)}
    if picture.time is not None:
        entry["time"] = round(picture.time, 3)
    if picture.page is not None:
        entry["page"] = picture.page
    return entry


def _chunks(items: Iterator[tuple[int, Picture]], size: int) -> Iterator[list[tuple[int, Picture]]]:
    while chunk := list(islice(items, size)):
        yield chunk
