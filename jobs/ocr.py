"""Task `ocr`: the text that is written in a picture, by RapidOCR."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from jobs.agreement import Difference, compare_texts, worst
from jobs.long_lines import recognise_in_pieces
from jobs.pictures import open_picture
from jobs.reading_order import reading_order
from jobs.schema import LongText, Pixel, Placed, Score, Text
from jobs.task import Finding, Task, register
from jobs.tiles import detect_in_tiles
from mediaflow.errors import ModelError
from mediaflow.media.rendition import Rendition
from mediaflow.models.encoders.session import open_session
from mediaflow.models.store import model_folder
from mediaflow.queues.arguments import Form

# Below this confidence a line is noise: RapidOCR's own default.
LEAST_CONFIDENCE = 0.5
# Textures look like a single letter often enough, hence a lone one must be this sure.
LEAST_CONFIDENCE_ALONE = 0.95
# The detector sees the picture with at least this shorter side and at most this longer side, in
# pixels; the recogniser reads from the full picture. More costs time and finds no more lines.
DETECTOR_SIDES = (640, 1600)
# A line below this confidence may stand on its head: it is read again turned by half, and turned
# it must be surer by the margin. This finds more than PaddleOCR's direction classifier does.
DOUBTFUL = 0.8
TURNED_MARGIN = 0.1
# A line of a video that is gone for more pictures than this and comes back is a new appearance.
PICTURES_MISSED = 1
SAME_TEXT = 0.8


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text; `box` (4, 2) in pixels of the picture, clockwise from its top left corner.

    `turn` is how many quarter turns clockwise the line stands. Lines of one row share `row`.
    """

    text: str
    confidence: float
    box: np.ndarray
    turn: int = 0
    row: int = 0
    page: int | None = None
    time: float | None = None
    track: int | None = None


Point = Annotated[list[Pixel], Field(min_length=2, max_length=2)]


class LineForm(Placed):
    text: Text
    track: Annotated[int, Field(ge=1, le=1000)] | None = None
    confidence: Score
    box: Annotated[list[Point], Field(min_length=4, max_length=4)]


class OcrData(Form):
    """Text and lines, as `mediaflow show --json` prints them."""

    text: LongText
    # 600 pictures with 100 lines each; what stays on the screen is one line.
    lines: Annotated[list[LineForm], Field(max_length=60_000)]


@register
class Ocr(Task):
    """Lines of text with boxes, by PP-OCR models (PaddleOCR, Apache-2.0) in RapidOCR."""

    name = "ocr"
    needs = "pictures"
    schema = OcrData

    @classmethod
    def agrees(cls, theirs: Finding, ours: Finding) -> Difference | None:
        """Whether the same is read on each page; where a line is, and how sure, may differ."""
        rows = compare_texts({None: theirs.data["text"]}, {None: ours.data["text"]})
        lines = compare_texts(_by_page(theirs.data["lines"]), _by_page(ours.data["lines"]))
        return worst([difference for difference in (rows, lines) if difference])

    def load(self) -> None:
        """Open detector and recogniser with this task's number of threads."""
        self._reader = TextReader(model_folder(self.settings.tasks[self.name].model), self)

    def analyse(self, batch: Sequence[Rendition]) -> list[Finding]:
        """One finding for each rendition, its pictures opened one at a time."""
        return [Finding(self._read(rendition)) for rendition in batch]

    def _read(self, rendition: Rendition) -> dict[str, Any]:
        pictures: list[list[Line]] = []
        tracks: dict[int | None, list[list[Line]]] = {}
        for picture in rendition.pictures:
            image = np.asarray(open_picture(rendition, picture))
            lines = [
                replace(
                    line,
                    box=line.box / picture.scale,
                    page=picture.page,
                    time=picture.time,
                    track=picture.track,
                )
                for line in in_reading_order(self._reader.read(image))
            ]
            tracks.setdefault(picture.track, []).append(lines)
        for of_track in tracks.values():
            if rendition.kind == "video":
                pictures += appearances(of_track)
            elif any(picture.time is not None for picture in rendition.pictures):
                pictures += appearances(of_track, alike=1.0)  # frames of an animation differ by design
            else:
                pictures += of_track
        rows = [row for lines in pictures for row in _texts_of_rows(lines)]
        return {"text": "\n".join(rows), "lines": [_entry(line) for lines in pictures for line in lines]}


def _by_page(lines: Sequence[dict[str, Any]]) -> dict[int | None, str]:
    texts: dict[int | None, list[str]] = {}
    for line in lines:
        texts.setdefault(line.get("page"), []).append(line["text"])
    return {page: " ".join(of_page) for page, of_page in texts.items()}


class TextReader:
    """RapidOCR's steps, but the direction of a line decided by the recogniser, one line at a time.

    Lines read in batches are padded to the longest of them, which costs time and words on a CPU.
    """

    def __init__(self, folder: Path, task: Task) -> None:
        from omegaconf import OmegaConf
        from rapidocr import RapidOCR
        from rapidocr.ch_ppocr_det import TextDetector
        from rapidocr.ch_ppocr_rec import TextRecognizer

        self._rapid = RapidOCR(
            params={"Global.log_level": "error", "Det.limit_side_len": 32, "Rec.rec_batch_num": 1}
        )
        # RapidOCR's parameters cannot keep threads from spinning, but it takes a session that is open.
        # It would look for the weights, and fetch what is missing, only where it is given none.
        sections = OmegaConf.create(self._rapid.cfg, flags={"allow_objects": True})
        sections.Det.session = _open(folder, "det", task)
        sections.Rec.session = _open(folder, "rec", task)
        self._detector = TextDetector(sections.Det)
        self._recogniser = TextRecognizer(sections.Rec)

    def read(self, image: np.ndarray) -> list[Line]:
        """The lines in an RGB image (height, width, 3) uint8, in no order."""
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        boxes = detect_in_tiles(self._detect, bgr)
        if not len(boxes):
            return []
        crops = self._rapid.crop_text_regions(bgr, boxes)
        limits = np.array([image.shape[1], image.shape[0]], dtype=np.float32)
        boxes = np.clip(boxes, 0, limits)
        return [
            Line(text, confidence, box, turn)
            for box, (text, confidence, turn) in zip(boxes, self._recognise(crops, boxes), strict=True)
            if _is_writing(text, confidence)
        ]

    def _detect(self, image: np.ndarray) -> np.ndarray:
        """Boxes (n, 4, 2) float32 of lines, in pixels of the image."""
        import cv2
        from rapidocr.utils.process_img import apply_vertical_padding

        image, record = apply_vertical_padding(
            image, {}, self._rapid.width_height_ratio, self._rapid.min_height
        )
        padding = record["padding_1"]
        height, width = image.shape[:2]
        shortest, longest = DETECTOR_SIDES
        scale = min(max(1.0, shortest / min(height, width)), longest / max(height, width))
        sides = [max(32, round(side * scale / 32) * 32) for side in (width, height)]
        boxes = self._detector(cv2.resize(image, sides)).boxes
        if boxes is None:
            return np.zeros((0, 4, 2), dtype=np.float32)
        factors = np.array([width / sides[0], height / sides[1]], dtype=np.float32)
        offset = np.array([padding["left"], padding["top"]], dtype=np.float32)
        return np.asarray(boxes, dtype=np.float32) * factors - offset

    def _recognise(self, crops: list[np.ndarray], boxes: np.ndarray) -> list[tuple[str, float, int]]:
        """Text, confidence and quarter turns of each line."""
        found = self._texts(crops)
        turns = [1 if _is_vertical(box) else 0 for box in boxes]
        turned = self._turn(crops, found, [i for i, (_, sure) in enumerate(found) if sure < DOUBTFUL])
        if len(turned) > len(crops) / 2:  # the page stands on its head: its sure lines may be wrong too
            turned += self._turn(crops, found, [i for i in range(len(crops)) if i not in turned])
        for index in turned:
            turns[index] += 2
        return [(text, sure, turn) for (text, sure), turn in zip(found, turns, strict=True)]

    def _turn(
        self, crops: list[np.ndarray], found: list[tuple[str, float]], doubtful: list[int]
    ) -> list[int]:
        """Read the doubtful lines turned by half; the indices of those that are surer, now in `found`."""
        if not doubtful:
            return []
        readings = self._texts([np.ascontiguousarray(crops[i][::-1, ::-1]) for i in doubtful])
        surer = [
            i for i, (_, sure) in zip(doubtful, readings, strict=True) if sure > found[i][1] + TURNED_MARGIN
        ]
        for index, (text, sure) in zip(doubtful, readings, strict=True):
            if index in surer:
                found[index] = (text, sure)
        return surer

    def _texts(self, crops: list[np.ndarray]) -> list[tuple[str, float]]:
        """Text and confidence of each line."""
        return [self._text(crop) for crop in crops]

    def _text(self, crop: np.ndarray) -> tuple[str, float]:
        recogniser = self._recogniser
        _, height, least = recogniser.rec_image_shape
        ratio = max(least / height, crop.shape[1] / crop.shape[0])
        best, scores = recognise_in_pieces(recogniser.session, recogniser.resize_norm_img(crop, ratio))
        ((text, sure),), _ = recogniser.postprocess_op.decode(best[None], scores[None], remove_duplicate=True)
        return text, sure


def in_reading_order(lines: Sequence[Line]) -> list[Line]:
    """The lines as a person reads them, with their rows numbered; the page stands as most of its text."""
    if not lines:
        return []
    letters = [sum(len(line.text) for line in lines if line.turn == turn) for turn in range(4)]
    rows = reading_order(np.stack([line.box for line in lines]), int(np.argmax(letters)))
    return [replace(lines[index], row=number) for number, row in enumerate(rows) for index in row]


def appearances(pictures: Sequence[Sequence[Line]], alike: float = SAME_TEXT) -> list[list[Line]]:
    """Lines of the pictures of a video or an animation, each where it first appears, in its surest reading.

    A subtitle stays for many pictures; it is one appearance until it is gone.
    """
    kept: list[list[Line]] = []
    seen: list[tuple[int, int, int]] = []  # picture it was last seen in, and its place in `kept`
    for number, lines in enumerate(pictures):
        kept.append([])
        seen = [entry for entry in seen if number - entry[0] <= PICTURES_MISSED + 1]
        for line in lines:
            match = next((i for i, (_, p, n) in enumerate(seen) if _is_same(kept[p][n], line, alike)), None)
            if match is None:
                kept[-1].append(line)
                seen.append((number, len(kept) - 1, len(kept[-1]) - 1))
                continue
            _, picture, place = seen[match]
            seen[match] = (number, picture, place)
            if line.confidence > kept[picture][place].confidence:
                first = kept[picture][place]
                kept[picture][place] = replace(first, text=line.text, confidence=line.confidence)
    return kept


def _is_same(first: Line, second: Line, alike: float) -> bool:
    """Whether two lines of neighbouring pictures are one: same words, at about the same height."""
    height = max(np.ptp(first.box[:, 1]), np.ptp(second.box[:, 1]))
    if abs(first.box[:, 1].mean() - second.box[:, 1].mean()) > height:
        return False
    before, after = (re.sub(r"\W+", "", line.text).casefold() for line in (first, second))
    return before == after or SequenceMatcher(None, before, after).ratio() >= alike


def _is_writing(text: str, confidence: float) -> bool:
    letters = sum(character.isalnum() for character in text)
    return letters > 0 and confidence >= (LEAST_CONFIDENCE_ALONE if letters == 1 else LEAST_CONFIDENCE)


def _is_vertical(box: np.ndarray) -> bool:
    """Whether RapidOCR turns the line's crop by a quarter before it is read."""
    width = max(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[2] - box[3]))
    height = max(np.linalg.norm(box[0] - box[3]), np.linalg.norm(box[1] - box[2]))
    return bool(int(height) / max(1, int(width)) >= 1.5)


def _texts_of_rows(lines: Sequence[Line]) -> list[str]:
    rows: dict[int, list[str]] = {}
    for line in lines:
        rows.setdefault(line.row, []).append(line.text)
    return [" ".join(texts) for texts in rows.values()]


def _entry(line: Line) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "text": line.text,
        "confidence": round(line.confidence, 3),
        "box": np.rint(line.box).astype(int).tolist(),
    }
    if line.page is not None:
        entry["page"] = line.page
    if line.time is not None:
        entry["time"] = round(line.time, 3)
    if line.track is not None:
        entry["track"] = line.track
    return entry


def _open(folder: Path, part: str, task: Task) -> Any:
    """An inference session of the folder's one detector ("det") or recogniser ("rec")."""
    found = sorted(folder.glob(f"*_{part}_*.onnx"))
    if len(found) != 1:
        raise ModelError(f"{folder} must hold one file *_{part}_*.onnx; configs/models.yaml lists them.")
    session = open_session(found[0], task.settings, task.name, shapes_vary=True)
    # RapidOCR would download a list of characters for a recogniser that has none.
    if part == "rec" and "character" not in session.get_modelmeta().custom_metadata_map:
        raise ModelError(f"{found[0]} does not name the characters that it reads (metadata `character`).")
    return session
