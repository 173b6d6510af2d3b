"""How likely a picture shows people, which no class of ImageNet says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mediaflow.errors import ModelError
from mediaflow.models.store import model_folder
from mediaflow.settings import Settings

BODIES = ("blazepose", "pose_detection.tflite")
FACES = ("blazeface", "face_detection_full_range_sparse.tflite")


class People:
    """The mean of two detectors' best scores: whole bodies (BlazePose) and faces (BlazeFace).

    Google MediaPipe (Apache-2.0); inputs as in its graphs: letterboxed, RGB from -1 to 1.
    """

    def __init__(self, settings: Settings) -> None:
        task = settings.tasks.get("embed")
        threads = task.threads if task else 2
        self._detectors = [_Detector(model_folder(model) / file, threads) for model, file in (BODIES, FACES)]

    def likelihood(self, image: np.ndarray) -> float:
        """0 to 1 for an upright RGB uint8 image (h, w, 3)."""
        return float(np.mean([detector.best_score(image) for detector in self._detectors]))


@contextmanager
def _without_messages() -> Iterator[None]:
    """What native code writes to standard error is dropped: it has no other switch."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class _Detector:
    def __init__(self, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            with _without_messages():  # it prints a line about itself on standard error
                self._model: Any = Interpreter(str(path), num_threads=threads)
                self._model.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{path} cannot be loaded: {error}.") from error
        entry = self._model.get_input_details()[0]
        self._input, self._side = entry["index"], int(entry["shape"][1])
        outputs = self._model.get_output_details()
        # One score per anchor; the other output holds the boxes.
        self._scores = next(output["index"] for output in outputs if output["shape"][-1] == 1)

    def best_score(self, image: np.ndarray) -> float:
        self._model.set_tensor(self._input, letterboxed(image, self._side)[None] / 127.5 - 1)
        self._model.invoke()
        logit = float(self._model.get_tensor(self._scores).max())
        return float(1 / (1 + np.exp(-np.clip(logit, -80, 80))))


def letterboxed(image: np.ndarray, side: int) -> np.ndarray:
    """An RGB uint8 image (h, w, 3) in the middle of a black square, (side, side, 3) float32, 0 to 255."""
    from PIL import Image

    picture = Image.fromarray(image)
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    square = Image.new("RGB", (side, side))
    small = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=3)
    square.paste(small, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(square, dtype=np.float32)
