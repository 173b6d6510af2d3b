"""Renditions of photos and scans: upright, in sRGB, no larger than told, or a reason why not."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mediaflow.errors import MediaError
from mediaflow.media import content, prepare
from mediaflow.media.content import hash_of
from mediaflow.media.originals import open_original
from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Rendition
from mediaflow.settings import load_settings

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)


def flag(width: int = 60, height: int = 40) -> Image.Image:
    """A picture whose corners tell its orientation: red above left, green above right, blue below left."""
    image = Image.new("RGB", (width, height), "white")
    for colour, corner in ((RED, (0, 0)), (GREEN, (width - 15, 0)), (BLUE, (0, height - 15))):
        image.paste(colour, (*corner, corner[0] + 15, corner[1] + 15))
    return image


def render(path: Path, **renditions: Any) -> Rendition:
    settings = load_settings()
    changed = settings.model_copy(update={"renditions": settings.renditions.model_copy(update=renditions)})
    return make_rendition(str(path), path.parent / f"{path.name}.rendition", changed)


def picture(rendition: Rendition, at: int = 0) -> Image.Image:
    return Image.open(rendition.path(rendition.pictures[at].file))


def is_upright(image: Image.Image) -> bool:
    pixels = np.asarray(image.convert("RGB").resize((60, 40)), int)
    wanted = ((5, 5, RED), (54, 5, GREEN), (5, 34, BLUE), (54, 34, (255, 255, 255)))
    return all(np.abs(pixels[y, x] - colour).max() < 40 for x, y, colour in wanted)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff"])
def test_every_exif_orientation_comes_out_upright(tmp_path: Path, orientation: int, form: str) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the PIL transposes that the orientation undoes
    image = flag()
    stored = image.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{form}"
    stored.save(path, form, exif=exif, **({"quality": 95} if form in ("jpeg", "webp") else {}))
    rendition = render(path)
    assert is_upright(picture(rendition))
    assert (rendition.media["width"], rendition.media["height"]) == (60, 40)
    assert (rendition.pictures[0].width, rendition.pictures[0].height) == (60, 40)


def test_heic_rotation_is_applied_once(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo.heic"
    stored = flag().transpose(Image.Transpose.ROTATE_90)
    stored.info["exif"] = exif.tobytes()
    stored.save(path, "HEIF", quality=95)
    assert b"irot" in path.read_bytes()
    assert is_upright(picture(render(path)))


def test_a_large_photo_is_made_smaller_and_its_scale_kept(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    flag(3000, 2000).save(path)
    rendition = render(path, pixels=1000)
    (only,) = rendition.pictures
    assert (only.width, only.height, only.page) == (1000, 667, None)
    assert only.scale == pytest.approx(1 / 3, rel=1e-3)
    assert (rendition.media["width"], rendition.media["height"]) == (3000, 2000)
    assert max(Image.open(rendition.path(rendition.thumbnail or "")).size) == 320


def test_what_is_transparent_everywhere_is_white(tmp_path: Path) -> None:
    path = tmp_path / "logo.png"
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(path)
    assert np.asarray(picture(render(path))).min() > 250


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16", "F", "LA", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    ramp = Image.linear_gradient("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(ramp, np.uint16) * 257)
    else:
        image = ramp.convert("RGB").convert(mode) if mode != "F" else ramp.convert("F")
    path = tmp_path / "ramp.tiff" if mode in ("CMYK", "F") else tmp_path / "ramp.png"
    image.save(path)
    made = np.asarray(picture(render(path)), int)
    assert made.shape == (256, 256, 3)
    assert made[:20].mean() < 40
    assert made[-20:].mean() > 215


def test_a_scan_of_many_pages_has_numbered_pictures_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    first, *others = [Image.new("RGB", (50, 70), (shade, 0, 0)) for shade in (0, 80, 160, 240)]
    first.save(path, save_all=True, append_images=others)
    rendition = render(path, max_pages=3)
    assert [each.page for each in rendition.pictures] == [1, 2, 3]
    assert rendition.media["pages"] == 3
    assert np.asarray(picture(rendition, 2))[..., 0].mean() == pytest.approx(160, abs=4)


def test_time_camera_and_place_are_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 7D"
    exif.get_ifd(0x8769)[0x9003] = "2021:05:06 07:08:09"
    exif.get_ifd(0x8769)[0x9011] = "+02:00"
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (151.0, 15.0, 0.0)})
    path = tmp_path / "a.jpg"
    flag().save(path, exif=exif)
    media = render(path).media
    assert media["taken"] == "2021-05-06T07:08:09+02:00"
    assert media["camera"] == "Canon EOS 7D"
    assert media["gps"] == [-33.5, 151.25]


def test_what_a_file_is_is_told_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "really_a_jpeg.png"
    flag().save(path, "JPEG")
    assert render(path).media["format"] == "JPEG"


def test_half_a_jpeg_is_kept_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rendition = render(path)
    assert len(rendition.pictures) == 1
    assert "of the picture could be decoded" in rendition.media["warning"]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.jpg", b"", "the file is empty"),
        ("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "it looks like a web page"),
        ("letter.jpg", b"%PDF-1.7 and so on", "it looks like a PDF document"),
        ("text.jpg", "Grüße aus Wien".encode(), "it looks like text"),
        ("zeros.jpg", bytes(600), "nothing but zeros"),
        ("cut.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "a damaged JPEG image"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\x00\x00", "a damaged PNG image"),
        ("cut.wav", b"RIFF\x00\x00\x00\x00WAVE", "a damaged WAV file"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "it looks like text"),
    ],
)
def test_what_is_no_medium_is_refused_with_a_reason_for_a_person(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(MediaError, match=reason) as caught:
        render(path)
    assert caught.value.permanent


def test_an_image_that_claims_too_many_pixels_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)
    with pytest.raises(MediaError, match="claims 20000 × 20000 pixels"):
        render(path)


def test_a_file_that_is_gone_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be read: No such file") as caught:
        render(tmp_path / "gone.jpg")
    assert not caught.value.permanent


def test_a_file_that_changes_while_it_is_read_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    flag().save(path)
    make = prepare._make

    def grow(*arguments: Any) -> Rendition:
        rendition = make(*arguments)
        path.write_bytes(path.read_bytes() + b"more")
        return rendition

    monkeypatch.setattr(prepare, "_make", grow)
    with pytest.raises(MediaError, match="changed while it was read") as caught:
        render(path)
    assert not caught.value.permanent


def test_a_rendition_is_complete_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    flag().save(path)
    made = render(path)
    assert Rendition.load(made.folder) == made
    again = render(path)
    assert again == made
    assert not list(tmp_path.glob("*.partial-*"))


def test_an_asset_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"abc" * 1_000_000)
    with open_original(os.fsencode(path)) as file:
        assert hash_of(file) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_brands_tell_avif_from_heic_and_both_from_a_film() -> None:
    def box(*brands: bytes) -> bytes:
        body = brands[0] + b"\0\0\0\0" + b"".join(brands[1:])
        return (len(body) + 8).to_bytes(4, "big") + b"ftyp" + body

    assert content.image_name(box(b"avif", b"mif1")) == "AVIF"
    assert content.image_name(box(b"mif1", b"mif1", b"avif")) == "AVIF"
    assert content.image_name(box(b"heic", b"mif1")) == "HEIC"
    assert content.image_name(box(b"isom", b"avc1")) is None
