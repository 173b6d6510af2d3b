"""Task `ocr`: the text that is written in a picture, by RapidOCR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.pictures import open_picture
from jobs.task import Finding, Task, register
from mediaflow.errors import ModelError
from mediaflow.media.rendition import Picture, Rendition
from mediaflow.models.store import model_folder

# RapidOCR's own limits: below this confidence a line is noise.
LEAST_CONFIDENCE = 0.5


@dataclass(slots=True)
class Line:
    """A line of text; `box` (4, 2) float32 in pixels of the upright original, clockwise from top left."""

    text: str
    confidence: float
    box: np.ndarray
    page: int | None = None
    time: float | None = None


@register
class Ocr(Task):
    """Lines of text with boxes, by PP-OCR models (PaddleOCR, Apache-2.0) in RapidOCR."""

    name = "ocr"
    needs = "pictures"

    def load(self) -> None:
        """Open detector, direction classifier and recogniser with this task's number of threads."""
        from rapidocr_onnxruntime import RapidOCR

        task = self.settings.tasks[self.name]
        folder = model_folder(task.model)
        self._engine = RapidOCR(
            det_model_path=str(_only(folder, "det")),
            cls_model_path=str(_only(folder, "cls")),
            rec_model_path=str(_only(folder, "rec")),
            intra_op_num_threads=task.threads,
            inter_op_num_threads=1,
            text_score=LEAST_CONFIDENCE,
        )

    def analyse(self, batch: Sequence[Rendition]) -> list[Finding]:
        """One finding for each rendition, its pictures opened one at a time."""
        return [Finding(self._read(rendition)) for rendition in batch]

    def _read(self, rendition: Rendition) -> dict[str, Any]:
        found: list[Line] = []
        for picture in rendition.pictures:
            found.extend(self._lines(rendition, picture))
        return {"text": "\n".join(line.text for line in found), "lines": [_entry(line) for line in found]}

    def _lines(self, rendition: Rendition, picture: Picture) -> list[Line]:
        image = np.asarray(open_picture(rendition, picture))[:, :, ::-1]
        result, _ = self._engine(np.ascontiguousarray(image))
        return [
            Line(text, float(score), np.asarray(box) / picture.scale, picture.page, picture.time)
            for box, text, score in result or []
        ]


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
    return entry


def _only(folder: Path, part: str) -> Path:
    found = sorted(folder.glob(f"*{part}*.onnx"))
    if len(found) != 1:
        raise ModelError(f"{folder} must hold one file *{part}*.onnx, it holds {len(found)}. See configs/models.yaml.")
    return found[0]
