"""BlazePose: where people are in a picture, and their 33 keypoints.

Bazarevsky et al. 2020, "BlazePose: On-device Real-time Body Pose tracking" (arXiv 2006.10204). The
numbers below are those of the graphs in MediaPipe 0.10 (Apache-2.0): `pose_detection`,
`pose_landmarks_to_roi`, `pose_landmark_by_roi`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DETECTOR_SIDE = 224
LANDMARK_SIDE = 256
# Grid sizes of the detector's layers and the anchors in each of their cells.
ANCHOR_GRIDS = ((28, 2), (14, 2), (7, 6))
# The region of interest is this much larger than the circle around the body.
ROI_SCALE = 1.25
KEYPOINTS = 33
# Cells of a heatmap around a keypoint that may move it, and how sure one of them must be.
HEATMAP_REACH, HEATMAP_SURE = 3, 0.5
# Keypoints 33 and 34 of the landmark model: the body's centre, and a point on the circle around it.
CENTRE, RIM = 33, 34


@dataclass(frozen=True, slots=True)
class Roi:
    """A square region: centre and side in pixels, turned clockwise by `angle` radians."""

    x: float
    y: float
    side: float
    angle: float = 0.0


@dataclass(frozen=True, slots=True)
class Body:
    """One person: `score` 0 to 1, `keypoints` (33, 3) float32: x, y in pixels, visibility 0 to 1.

    `roi` is the region in which this person would be looked for next.
    """

    score: float
    keypoints: np.ndarray
    roi: Roi


class BlazePose:
    """The detector and the full landmark model, on the CPU."""

    def __init__(self, folder: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._detector = Interpreter(str(folder / "pose_detection.tflite"), num_threads=threads)
        self._landmarker = Interpreter(str(folder / "pose_landmark_full.tflite"), num_threads=threads)
        for model in (self._detector, self._landmarker):
            model.allocate_tensors()
        self._anchors = anchors()

    def detect(self, image: np.ndarray, least: float) -> list[tuple[float, Roi]]:
        """Scores and regions of people in an RGB image (height, width, 3) uint8, best first.

        The detector sees the whole image in 224 x 224, so it finds people of a fair size only.
        """
        seen, scale, left, top = _letterboxed(image)
        raw, logits = _invoke(self._detector, seen[None].astype(np.float32) / 127.5 - 1)
        scores = sigmoid(logits[0, :, 0])
        sure = np.flatnonzero(scores >= least)
        points = raw[0, sure].reshape(-1, 6, 2)
        points[:, [0, 2, 3, 4, 5]] += self._anchors[sure][:, None] * DETECTOR_SIDE
        found = []
        for score, detection in weighted_nms(points, scores[sure]):
            centre, rim = (detection[2:4] - (left, top)) / scale
            found.append((score, _roi_of(centre, rim)))
        return found

    def landmarks(self, pyramid: Sequence[np.ndarray], roi: Roi) -> Body:
        """The person in a region of an RGB image, given as a pyramid; `score` says whether there is one."""
        import cv2

        level = min(len(pyramid) - 1, max(0, int(math.log2(max(roi.side, 1) / LANDMARK_SIDE))))
        image, halved = pyramid[level], 2.0**level
        cosine, sine = math.cos(roi.angle), math.sin(roi.angle)
        scale = roi.side / LANDMARK_SIDE / halved
        back = np.array([[cosine, -sine], [sine, cosine]]) * scale
        offset = np.array([roi.x, roi.y]) / halved - back @ np.full(2, LANDMARK_SIDE / 2)
        crop = cv2.warpAffine(
            image,
            np.column_stack([back, offset]),
            (LANDMARK_SIDE, LANDMARK_SIDE),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        raw, flag, _, heatmap, _ = _invoke(self._landmarker, crop[None].astype(np.float32) / 255)
        found = raw.reshape(39, 5)
        found[:, :2] = refine(found[:, :2], sigmoid(heatmap[0]))
        points = (found[:, :2] @ back.T + offset) * halved
        visible = sigmoid(found[:KEYPOINTS, 3]) * sigmoid(found[:KEYPOINTS, 4])
        keypoints = np.column_stack([points[:KEYPOINTS], visible]).astype(np.float32)
        return Body(float(flag.item()), keypoints, _roi_of(points[CENTRE], points[RIM]))


def pyramid_of(image: np.ndarray, levels: int = 4) -> list[np.ndarray]:
    """An RGB image and its halves, so that a large region is not read with gaps between its pixels."""
    import cv2

    pyramid = [image]
    while len(pyramid) < levels and min(pyramid[-1].shape[:2]) >= 2 * LANDMARK_SIDE:
        height, width = pyramid[-1].shape[:2]
        pyramid.append(cv2.resize(pyramid[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return pyramid


def anchors() -> np.ndarray:
    """The anchors' centres (2254, 2) float32, from 0 to 1: SSD with fixed size, as the graph has it."""
    layers = []
    for grid, each in ANCHOR_GRIDS:
        middles = (np.arange(grid) + 0.5) / grid
        cells = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        layers.append(np.repeat(cells, each, axis=0))
    return np.concatenate(layers).astype(np.float32)


def refine(points: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
    """Points (n, 2) in the landmark model's pixels, drawn to the centre of their heatmaps' mass nearby.

    `heatmaps` (64, 64, n), 0 to 1. A point whose map is nowhere sure within reach stays where it is.
    """
    side = heatmaps.shape[0]
    cell = LANDMARK_SIDE / side
    refined = points.copy()
    for index, (column, row) in enumerate((points / cell).astype(int)):
        rows = slice(max(0, row - HEATMAP_REACH), max(0, min(side, row + HEATMAP_REACH + 1)))
        columns = slice(max(0, column - HEATMAP_REACH), max(0, min(side, column + HEATMAP_REACH + 1)))
        near = heatmaps[rows, columns, index]
        if near.size and near.max() >= HEATMAP_SURE:
            x = (near.sum(0) * np.arange(columns.start, columns.stop)).sum() / near.sum()
            y = (near.sum(1) * np.arange(rows.start, rows.stop)).sum() / near.sum()
            refined[index] = x * cell, y * cell
    return refined


def weighted_nms(
    points: np.ndarray, scores: np.ndarray, overlap: float = 0.3
) -> list[tuple[float, np.ndarray]]:
    """Detections that overlap merged to their mean weighted by score, best first.

    `points` (n, 6, 2): the box's centre, its size, then four alignment points.
    """
    boxes = np.concatenate([points[:, 0] - points[:, 1] / 2, points[:, 0] + points[:, 1] / 2], axis=1)
    left = np.argsort(-scores)
    merged = []
    while len(left):
        group = left[iou(boxes[left[0]], boxes[left]) > overlap]
        group = group if len(group) else left[:1]
        merged.append((float(scores[left[0]]), np.average(points[group], axis=0, weights=scores[group])))
        left = np.setdiff1d(left, group, assume_unique=True)
        left = left[np.argsort(-scores[left])]
    return merged


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4,) with boxes (n, 4), all left, top, right, bottom."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return shared / np.maximum(areas - shared, 1e-9)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """The logistic function."""
    return 1 / (1 + np.exp(-np.clip(values, -60, 60)))


def _roi_of(centre: Sequence[float] | np.ndarray, rim: Sequence[float] | np.ndarray) -> Roi:
    """The region around the circle about `centre` through `rim`, turned so that `rim` is straight above."""
    dx, dy = rim[0] - centre[0], rim[1] - centre[1]
    return Roi(float(centre[0]), float(centre[1]), 2 * ROI_SCALE * math.hypot(dx, dy), math.atan2(dx, -dy))


def _letterboxed(image: np.ndarray) -> tuple[np.ndarray, float, int, int]:
    """The image in a black square of the detector's side; its scale, and where it lies there."""
    import cv2

    height, width = image.shape[:2]
    scale = DETECTOR_SIDE / max(height, width)
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    left, top = (DETECTOR_SIDE - sides[0]) // 2, (DETECTOR_SIDE - sides[1]) // 2
    square = np.zeros((DETECTOR_SIDE, DETECTOR_SIDE, 3), dtype=np.uint8)
    square[top : top + sides[1], left : left + sides[0]] = cv2.resize(image, sides, interpolation=method)
    return square, scale, left, top


def _invoke(model: Any, image: np.ndarray) -> list[np.ndarray]:
    model.set_tensor(model.get_input_details()[0]["index"], image)
    model.invoke()
    return [model.get_tensor(output["index"]) for output in model.get_output_details()]
