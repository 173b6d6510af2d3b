"""Every file of the real media ends as a true rendition, or with a reason that a person understands."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mediaflow.errors import MediaError
from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Rendition
from mediaflow.media.walk import walk
from mediaflow.settings import load_settings

pytestmark = pytest.mark.slow
Entry = dict[str, Any]
# What a person should never be shown: the words of a library.
LIBRARY_WORDS = re.compile(
    r"errno|traceback|0x[0-9a-f]{4}|<_io|cannot identify image|avcodec|Invalid data", re.I
)


def entries(media: Path, *kinds: str) -> list[Entry]:
    lines = (media / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    found = [entry for entry in map(json.loads, lines) if entry["kind"] in kinds]
    assert found
    return found


def render(media: Path, entry: Entry, folder: Path) -> Rendition:
    return make_rendition(str(media / entry["path"]), folder / entry["sha256"], load_settings())


def thumbnail(rendition: Rendition, size: tuple[int, int]) -> np.ndarray:
    with Image.open(rendition.path(rendition.thumbnail or "")) as image:
        return np.asarray(image.convert("L").resize(size), float)


def test_what_the_reference_decodes_is_done_and_the_rest_has_a_reason(media: Path, tmp_path: Path) -> None:
    reasons: dict[str, str] = {}
    for entry in entries(media, "robust_image", "robust_video", "robust_audio", "format", "messy"):
        try:
            rendition = render(media, entry, tmp_path)
        except MediaError as error:
            reasons[entry["path"]] = str(error)
            continue
        assert rendition.pictures or rendition.audio, entry["path"]
        assert rendition.media["format"], entry["path"]
        json.dumps(rendition.media, allow_nan=False)
    for path, reason in reasons.items():
        assert reason, path
        assert not LIBRARY_WORDS.search(reason), (path, reason)
    decodable = [
        entry["path"]
        for entry in entries(media, "robust_image", "robust_video", "robust_audio", "format")
        if entry["truth"]["reference"]["ok"]
    ]
    assert [path for path in decodable if path in reasons] == []


def test_an_image_has_the_size_and_pages_that_the_reference_found(media: Path, tmp_path: Path) -> None:
    for entry in entries(media, "format", "robust_image"):
        reference = entry["truth"]["reference"]
        if not reference["ok"]:
            continue
        rendition = render(media, entry, tmp_path)
        assert sorted((rendition.media["width"], rendition.media["height"])) == sorted(reference["size"]), (
            entry
        )
        if reference["format"] == "TIFF":
            assert len(rendition.pictures) == reference["frames"]


def test_a_recording_is_as_long_as_the_reference_found(media: Path, tmp_path: Path) -> None:
    for entry in entries(media, "robust_audio"):
        reference = entry["truth"]["reference"]
        if reference["ok"]:
            seconds = render(media, entry, tmp_path).media["seconds"]
            assert seconds == pytest.approx(reference["duration"], abs=0.15), entry["path"]


def test_all_of_an_orientation_group_look_the_same_and_upright(media: Path, tmp_path: Path) -> None:
    groups: dict[str, list[np.ndarray]] = defaultdict(list)
    for entry in entries(media, "orientation"):
        rendition = render(media, entry, tmp_path)
        assert [rendition.media["width"], rendition.media["height"]] == entry["truth"]["upright_size"]
        groups[entry["truth"]["group"]].append(thumbnail(rendition, (32, 32)))
    for name, pictures in groups.items():
        assert len(pictures) == 8
        for picture in pictures:
            assert np.corrcoef(picture.ravel(), pictures[0].ravel())[0, 1] > 0.95, name


def test_of_a_messy_folder_the_walk_takes_what_is_expected(media: Path) -> None:
    found = {
        str(Path(f.path.decode()) / file.name.decode()) for f in walk([media / "messy"]) for file in f.files
    }
    for entry in entries(media, "messy"):
        expected = entry["truth"]["expect"]
        path = str(media / entry["path"])
        if expected.startswith("ignored"):
            assert path not in found
        elif "hidden" not in entry["truth"].get("note", ""):
            assert path in found


def test_copies_are_one_asset(media: Path, tmp_path: Path) -> None:
    for entry in entries(media, "messy"):
        if "same_bytes_as" in entry["truth"]:
            assert render(media, entry, tmp_path).asset == entry["sha256"]


def test_a_frame_is_of_the_time_it_says(media: Path, tmp_path: Path) -> None:
    """The test card fills one more cell of a bar in each second; a white cell is 0.054 of the row cut out."""
    (entry,) = [entry for entry in entries(media, "video") if "timecode" in entry["path"]]
    rendition = render(media, entry, tmp_path)
    assert len(rendition.pictures) >= 3
    for picture in rendition.pictures:
        with Image.open(rendition.path(picture.file)) as image:
            row = np.asarray(image.convert("L"))[round(0.86 * 480), 40:620]
        assert round((row > 200).mean() / 0.054) == int(picture.time or 0) + 1, picture
