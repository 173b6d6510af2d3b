"""How far honest findings of one file differ, and which lies are found: the tolerances of `Task.agrees`.

    python -m benchmarks.agreement [--files N] [TASK…]

Each task analyses files of MEDIAFLOW_TEST_MEDIA as they are, and again as another machine might: with another
number of threads, with pixels that differ by one step by chance (more than half precision does to
a model's input), with pictures that went through JPEG once more, with weights rounded to half precision, or
(Whisper) computing with floats instead of int8. Then as one that lies: with what was found of another file,
with nothing, with a part changed.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.installation import test_media
from benchmarks.quality import read_manifest
from jobs.agreement import common_pairs
from jobs.task import Finding, Task, Vector, find_task
from mediaflow.media.originals import open_original
from mediaflow.media.prepare import render
from mediaflow.media.rendition import Rendition
from mediaflow.settings import Settings, load_settings

KINDS = {
    "ocr": ("ocr", "image_caption"),
    "nsfw": ("image_caption", "image_label"),
    "pose": ("image_caption",),
    "embed": ("image_caption", "image_label"),
    "transcribe": ("speech",),
}
Change = Callable[[Finding, np.random.Generator], Finding | None]


def main() -> int:
    """Print a line for each task and way to differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*")
    parser.add_argument("--files", type=int, default=40)
    given = parser.parse_args()
    media = test_media()
    print(f"{'task':12}{'what':34}{'files':>6}{'same':>6}{'small':>6}{'gross':>6}   far  such as")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.tasks or KINDS:
            entries = [e for e in read_manifest(media) if e["kind"] in KINDS[name]]
            step = max(1, len(entries) // given.files)
            paths = [media / entry["path"] for entry in entries[::step]][: given.files]
            _measure(name, _rendered(paths, Path(folder) / name), Path(folder) / name)
    return 0


def _rendered(paths: Sequence[Path], folder: Path) -> list[Rendition]:
    found = []
    for number, path in enumerate(paths):
        with open_original(os.fsencode(path), os.fsencode(path.parent)) as file:
            to = folder / "as-it-is" / f"{number:03d}"
            to.parent.mkdir(parents=True, exist_ok=True)
            found.append(render(file, to, load_settings(), f"{number:064d}"))
    return found


def _measure(name: str, renditions: Sequence[Rendition], folder: Path) -> None:
    ours = _find(name, renditions)
    task = find_task(name)

    def row(what: str, theirs: Sequence[Finding | None]) -> None:
        pairs = [(a, b) for a, b in zip(theirs, ours, strict=True) if a is not None]
        differences = [task.agrees(a, b) for a, b in pairs]
        gross = [d.said for d in differences if d and d.gross]
        small = [d.said for d in differences if d and not d.gross]
        same = len(pairs) - len(gross) - len(small)
        counts = f"{len(pairs):6}{same:6}{len(small):6}{len(gross):6}"
        print(f"{name:12}{what:34}{counts}  {_farthest(pairs):.3f}  {(gross + small)[:3]}")
        sys.stdout.flush()

    for what, theirs in _honest(name, renditions, folder):
        row(what, theirs)
    row("LIE: of another file", [*ours[1:], ours[0]])
    chance = np.random.default_rng(4)
    for what, change in LIES[name].items():
        row(f"LIE: {what}", [change(finding, chance) for finding in ours])


def _farthest(pairs: Sequence[tuple[Finding, Finding]]) -> float:
    """Of vectors the least cosine, of scores the greatest difference, of text the least share in common."""
    far = [float("nan")]
    for one, other in pairs:
        if "score" in one.data:
            far.append(-abs(one.data["score"] - other.data["score"]))
        elif "text" in one.data:
            far.append(common_pairs({None: one.data["text"]}, {None: other.data["text"]})[0])
        else:
            far += [float(a.values @ b.values) for a, b in zip(one.vectors, other.vectors, strict=False)]
    return abs(float(np.nanmin(far))) if len(far) > 1 else float("nan")


def _honest(name: str, renditions: Sequence[Rendition], folder: Path) -> Iterator[tuple[str, list[Finding]]]:
    yield "one thread, one at a time", [_find(name, [each], threads=1)[0] for each in renditions]
    if name == "transcribe":
        with _floats():
            yield "floats, not int8", _find(name, renditions)
        return
    chance = np.random.default_rng(7)
    yield "one step of noise", _find(name, [_noisy(r, folder / "noise", chance) for r in renditions])
    yield "JPEG once more (quality 90)", _find(name, [_again(r, folder / "jpeg") for r in renditions])
    if name in ("ocr", "nsfw"):
        with _half(name):
            yield "weights in half precision", _find(name, renditions)


def _find(name: str, renditions: Sequence[Rendition], threads: int = 2) -> list[Finding]:
    task = _loaded(name, threads)
    found = []
    for first in range(0, len(renditions), task.together):
        found += task.analyse(renditions[first : first + task.together])
    return [_as_stored(finding) for finding in found]


_tasks: dict[tuple[str, int], Task] = {}


def _loaded(name: str, threads: int) -> Task:
    if (name, threads) not in _tasks:
        settings: Settings = load_settings().model_copy(deep=True)
        entry = settings.tasks[name].model_copy(update={"threads": threads})
        task = find_task(name)(settings.model_copy(update={"tasks": settings.tasks | {name: entry}}))
        task.load()
        _tasks[name, threads] = task
    return _tasks[name, threads]


def _as_stored(finding: Finding) -> Finding:
    vectors = tuple(
        replace(v, values=v.values.astype("<f2").astype(np.float32))
        for v in sorted(finding.vectors, key=lambda v: v.space)
    )
    return Finding(finding.data, vectors)


# --- machines that are honest ------------------------------------------------------------------


def _copy(rendition: Rendition, folder: Path) -> Rendition:
    to = folder / rendition.folder.name
    shutil.copytree(rendition.folder, to)
    return replace(rendition, folder=to)


def _noisy(rendition: Rendition, folder: Path, chance: np.random.Generator) -> Rendition:
    """Every pixel one step more, one less, or the same."""
    changed = _copy(rendition, folder)
    pictures = []
    for picture in changed.pictures:
        with Image.open(changed.path(picture.file)) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.int16)
        pixels = np.clip(pixels + chance.integers(-1, 2, pixels.shape), 0, 255)
        file = picture.file + ".png"
        Image.fromarray(pixels.astype(np.uint8)).save(changed.path(file), "PNG", compress_level=1)
        pictures.append(replace(picture, file=file))
    return replace(changed, pictures=tuple(pictures))


def _again(rendition: Rendition, folder: Path) -> Rendition:
    changed = _copy(rendition, folder)
    for picture in changed.pictures:
        with Image.open(changed.path(picture.file)) as image:
            image.convert("RGB").save(changed.path(picture.file), "JPEG", quality=90)
    return changed


@contextmanager
def _half(name: str) -> Iterator[None]:
    """The models of a task with all their weights rounded to half precision."""
    import onnx
    from onnx import numpy_helper

    module = importlib.import_module(find_task(name).__module__)
    kept = module.open_session

    def open_rounded(path: Path, *arguments: Any, **named: Any) -> Any:
        model = onnx.load(path)
        for weight in model.graph.initializer:
            values = numpy_helper.to_array(weight)
            if values.dtype == np.float32:
                rounded = values.astype(np.float16).astype(np.float32)
                weight.CopyFrom(numpy_helper.from_array(rounded, weight.name))
        return kept(model.SerializeToString(), *arguments, **named)

    vars(module)["open_session"] = open_rounded
    _tasks.clear()
    try:
        yield
    finally:
        vars(module)["open_session"] = kept
        _tasks.clear()


@contextmanager
def _floats() -> Iterator[None]:
    """Whisper in single precision, to which half precision on a GPU is nearer than int8 is."""
    import faster_whisper

    kept = faster_whisper.WhisperModel.__init__

    def begin(self: Any, *arguments: Any, **named: Any) -> None:
        kept(self, *arguments, **named | {"compute_type": "float32"})

    faster_whisper.WhisperModel.__init__ = begin  # type: ignore[method-assign]
    _tasks.clear()
    try:
        yield
    finally:
        faster_whisper.WhisperModel.__init__ = kept  # type: ignore[method-assign]
        _tasks.clear()


# --- machines that lie -------------------------------------------------------------------------


def _words_changed(share: float, key: str) -> Change:
    """So large a share of the words (one at least) replaced by others as long."""

    def change(finding: Finding, chance: np.random.Generator) -> Finding | None:
        data = copy.deepcopy(finding.data)
        pieces = [piece for piece in data[key] if piece["text"].strip()]
        places = [(piece, at) for piece in pieces for at in range(len(piece["text"].split()))]
        if not places:
            return None
        count = max(1, round(share * len(places)))
        for index in chance.choice(len(places), count, replace=False):
            piece, at = places[index]
            words = piece["text"].split()
            words[at] = "".join(chance.choice(list("abcdefghijklmnopqrstuvwxyz"), len(words[at])))
            piece["text"] = " ".join(words)
        data["text"] = "\n".join(piece["text"] for piece in data[key])
        return Finding(data)

    return change


def _only_if(condition: Callable[[dict[str, Any]], bool], data: dict[str, Any]) -> Change:
    return lambda finding, _: Finding(copy.deepcopy(data)) if condition(finding.data) else None


def _scored(score: float) -> Change:
    """Another score for all pictures, with the verdict that goes with it."""

    def change(finding: Finding, _: np.random.Generator) -> Finding:
        from jobs.nsfw import verdict

        worst = [entry | {"score": score} for entry in finding.data["worst"]]
        return Finding({"score": score, "verdict": verdict(score), "worst": worst})

    return change


def _moved(share: float) -> Change:
    """Every keypoint moved to a side by a share of the person's size."""

    def change(finding: Finding, _: np.random.Generator) -> Finding | None:
        people = copy.deepcopy(finding.data["people"])
        for person in people:
            points = np.array(person["keypoints"])
            points[:, 0] += share * np.ptp(points[:, :2], axis=0).max()
            person["keypoints"] = points.tolist()
        return Finding({"people": people}) if people else None

    return change


def _turned(cosine: float) -> Change:
    """Vectors with this cosine to the true ones, in a direction of chance."""

    def change(finding: Finding, chance: np.random.Generator) -> Finding:
        vectors = []
        for vector in finding.vectors:
            aside = chance.standard_normal(vector.values.shape)
            aside -= vector.values * (aside @ vector.values)
            values = cosine * vector.values + (1 - cosine**2) ** 0.5 * aside / np.linalg.norm(aside)
            vectors.append(Vector(vector.space, values.astype(np.float32), vector.page, vector.time))
        return Finding({}, tuple(vectors))

    return change


def _text_lies(key: str) -> dict[str, Change]:
    empty = {"text": "", key: []} | ({"language": None} if key == "segments" else {})
    return {
        "nothing, where there are 30 letters": _only_if(lambda data: len(data["text"]) >= 30, empty),
        "one word changed": _words_changed(0, key),
        "a twentieth of the words": _words_changed(0.05, key),
        "a tenth of the words": _words_changed(0.1, key),
        "a fifth of the words": _words_changed(0.2, key),
        "half of the words": _words_changed(0.5, key),
    }


LIES: dict[str, dict[str, Change]] = {
    "ocr": _text_lies("lines"),
    "transcribe": _text_lies("segments"),
    "nsfw": {"score 0.0": _scored(0.0), "score 0.1": _scored(0.1), "score 0.9": _scored(0.9)},
    "pose": {
        "nobody": _only_if(lambda data: bool(data["people"]), {"people": []}),
        "moved by a twentieth": _moved(0.05),
        "moved by a fifth": _moved(0.2),
    },
    "embed": {
        "cosine 0.99": _turned(0.99),
        "cosine 0.95": _turned(0.95),
        "at random": _turned(0.0),
    },
}

if __name__ == "__main__":
    raise SystemExit(main())
