"""A disk that refuses is nobody's file's fault: on a small file system of its own."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mediaflow.errors import StorageError
from mediaflow.media.prepare import make_rendition
from mediaflow.media.storage import Output
from mediaflow.settings import load_settings
from tests import attacks
from tests.conftest import missing


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"A small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def photo(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    return folder / "a.png"


def film(folder: Path) -> Path:
    return attacks.film_with_times(folder / "a.mkv", [at * 3 for at in range(40)])


def speech(folder: Path) -> Path:
    (folder / "a.wav").write_bytes(attacks.wav(seconds=60))
    return folder / "a.wav"


@pytest.mark.parametrize("make", [photo, film, speech])
def test_a_full_disk_is_a_storage_error_whatever_is_written(
    tmp_path: Path, small: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    folder = small / "renditions" / "ab" / "abc"
    with pytest.raises(
        StorageError, match=f"in {small}/renditions cannot be written: No space left on device"
    ):
        make_rendition(str(path), folder, load_settings())
    assert not [left for left in small.rglob("*") if "partial" in left.name], "nothing is left half made"
    made = make_rendition(str(path), tmp_path / "renditions" / "ab" / "abc", load_settings())
    assert made.pictures or made.audio, "the file itself is in order"


def test_the_last_bytes_of_a_rendition_that_do_not_fit_are_a_storage_error(
    tmp_path: Path, small: Path
) -> None:
    """A recording whose sound ends just where the disk is full, so that only closing finds out."""
    (small / "ballast").write_bytes(bytes(56_000))
    path = tmp_path / "a.wav"
    path.write_bytes(attacks.wav(seconds=0.5))
    with pytest.raises(StorageError, match="No space left"):
        make_rendition(str(path), small / "renditions" / "ab" / "abc", load_settings())


def test_what_an_encoder_was_refused_and_kept_to_itself_comes_out_at_the_end(small: Path) -> None:
    output = Output(small / "sound.flac")
    with contextlib.suppress(StorageError):
        output.write(bytes(200_000))
    with pytest.raises(StorageError, match="No space left"):
        output.close()


def test_a_disk_that_is_read_only_is_a_storage_error(tmp_path: Path, small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with pytest.raises(StorageError, match=r"Read-only file system. Make it writable; the work goes on"):
        make_rendition(str(photo(tmp_path)), small / "renditions" / "ab" / "abc", load_settings())
