"""The task `pose`: people found in whole pictures and tiles, 33 keypoints in the original's pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.blazepose import LANDMARK_SIDE, anchors, iou, pyramid_of, refine, weighted_nms
from jobs.pose import Pose, people
from mediaflow.errors import MediaError
from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Picture, Rendition
from mediaflow.settings import load_settings

NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, LEFT_ANKLE = 0, 11, 12, 23, 27
SURFER, MUSEUM, KITCHEN = "000000000785", "000000000790", "000000114174"


@pytest.fixture(scope="module")
def pose() -> Pose:
    task = Pose(load_settings())
    task.load()
    return task


def photo(media: Path, name: str) -> np.ndarray:
    with Image.open(media / f"images/coco/{name}.jpg") as image:
        return np.asarray(image.convert("RGB"))


def found(pose: Pose, path: Path, folder: Path) -> list[dict]:
    return pose.analyse([make_rendition(str(path), folder, load_settings())])[0].data["people"]


def test_the_anchors_are_those_of_the_detectors_three_grids() -> None:
    centres = anchors()
    assert centres.shape == (2254, 2)
    assert centres[0].tolist() == pytest.approx([0.5 / 28, 0.5 / 28])
    assert centres[1].tolist() == centres[0].tolist()
    assert centres[2].tolist() == pytest.approx([1.5 / 28, 0.5 / 28])
    assert centres[-1].tolist() == pytest.approx([6.5 / 7, 6.5 / 7])


def test_detections_that_overlap_become_their_mean_weighted_by_score() -> None:
    def detection(x: float) -> np.ndarray:
        return np.array([[x, 50], [20, 20], [x, 50], [x, 30], [x, 45], [x, 40]], dtype=float)

    points = np.stack([detection(50), detection(54), detection(150)])
    (best, merged), (other, alone) = weighted_nms(points, np.array([0.9, 0.3, 0.6]))
    assert (best, other) == (0.9, 0.6)
    assert merged[0].tolist() == pytest.approx([51, 50])
    assert alone[0].tolist() == pytest.approx([150, 50])


def test_intersection_over_union() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], dtype=float)
    assert iou(boxes[0], boxes).tolist() == pytest.approx([1, 1 / 3, 0])


def test_a_keypoint_moves_to_the_mass_of_its_heatmap_only_where_that_is_sure() -> None:
    heatmaps = np.zeros((64, 64, 2))
    heatmaps[20, 12, 0] = 0.9
    heatmaps[20, 12, 1] = 0.4
    cell = LANDMARK_SIDE / 64
    moved = refine(np.array([[10 * cell, 20 * cell], [10 * cell, 20 * cell]]), heatmaps)
    assert moved.tolist() == [[12 * cell, 20 * cell], [10 * cell, 20 * cell]]


@pytest.mark.parametrize("point", [(-500.0, 20.0), (20.0, -500.0), (900.0, 900.0)])
def test_a_keypoint_outside_the_region_stays_where_it_is(point: tuple[float, float]) -> None:
    assert refine(np.array([point]), np.ones((64, 64, 1))).tolist() == [list(point)]


@pytest.mark.slow
def test_a_person_has_33_keypoints_where_the_truth_has_them(pose: Pose, media: Path, tmp_path: Path) -> None:
    from benchmarks.quality.pose import similarity

    people_there = json.loads((media / "truth/coco_keypoints.json").read_text())["annotations"]
    truth = next(person for person in people_there if person["image_id"] == int(SURFER))
    (person,) = found(pose, media / f"images/coco/{SURFER}.jpg", tmp_path / "r")
    assert np.shape(person["keypoints"]) == (33, 3)
    assert similarity(np.array(person["keypoints"]), truth)[0] > 0.85


@pytest.mark.slow
def test_several_people_are_found_each_once(pose: Pose, media: Path, tmp_path: Path) -> None:
    group = found(pose, media / f"images/coco/{MUSEUM}.jpg", tmp_path / "r")
    noses = np.array([person["keypoints"][NOSE][:2] for person in group])
    apart = np.hypot(*(noses[:, None] - noses[None]).T)[np.triu_indices(len(noses), 1)]
    assert len(group) >= 3
    assert apart.min() > 20


@pytest.mark.slow
def test_nobody_is_found_where_nobody_is(pose: Pose, media: Path) -> None:
    from benchmarks.quality import read_manifest

    empty = [e["path"] for e in read_manifest(media) if "pose_negative" in e.get("tags", ())]
    invented = [path for path in empty if people(pose._model, photo(media, Path(path).stem))]
    assert len(empty) >= 15
    assert invented == []


@pytest.mark.slow
def test_keypoints_turn_with_the_person(pose: Pose, media: Path) -> None:
    image = photo(media, SURFER)
    (upright,) = people(pose._model, image)[:1]
    turned = people(pose._model, np.ascontiguousarray(np.rot90(image)))
    assert turned, "a person who lies is a person"
    back = turned[0].keypoints[:, :2] @ np.array([[0, 1], [-1, 0]]) + [image.shape[1] - 1, 0]
    joints = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, LEFT_ANKLE]
    apart = np.hypot(*(back - upright.keypoints[:, :2])[joints].T)
    assert apart.mean() < 0.05 * upright.roi.side


@pytest.mark.slow
def test_keypoints_are_pixels_of_the_original(pose: Pose, media: Path, tmp_path: Path) -> None:
    small = found(pose, media / f"images/coco/{SURFER}.jpg", tmp_path / "a")
    with Image.open(media / f"images/coco/{SURFER}.jpg") as image:
        image.resize((image.width * 5, image.height * 5)).save(tmp_path / "large.jpg")
    large = found(pose, tmp_path / "large.jpg", tmp_path / "b")
    points = [np.array(each[0]["keypoints"])[:, :2] for each in (small, large)]
    assert np.hypot(*(points[1] / 5 - points[0]).T).mean() < 5


def test_a_pyramid_halves_a_large_picture_and_leaves_a_small_one() -> None:
    assert [level.shape[0] for level in pyramid_of(np.zeros((2048, 2048, 3), np.uint8))] == [
        2048,
        1024,
        512,
        256,
    ]
    assert len(pyramid_of(np.zeros((100, 300, 3), np.uint8))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("size", [(2000, 12), (9, 2000), (3, 3), (1, 1)])
def test_the_oddest_shapes_are_no_error(pose: Pose, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, "white").save(tmp_path / "0.jpg")
    rendition = Rendition("a", "image", tmp_path, pictures=(Picture("0.jpg", *size),))
    assert pose.analyse([rendition])[0].data == {"people": []}


@pytest.mark.slow
def test_a_damaged_rendition_can_be_made_again(pose: Pose, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"0\.jpg") as raised:
        pose.analyse([Rendition("a", "image", tmp_path, pictures=(Picture("0.jpg", 8, 8),))])
    assert not raised.value.permanent


@pytest.mark.slow
def test_every_frame_of_a_video_comes_with_its_second(pose: Pose, media: Path, tmp_path: Path) -> None:
    rendition = make_rendition(str(media / "video/popeye_0_hardsub.mp4"), tmp_path / "r", load_settings())
    times = {picture.time for picture in rendition.pictures}
    for person in pose.analyse([rendition])[0].data["people"]:
        assert person["time"] in {round(time, 3) for time in times if time is not None}
