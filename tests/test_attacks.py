"""What lies about itself meets a limit, in seconds and in little memory, with a reason for a person."""

from __future__ import annotations

import contextlib
import errno
import io
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from mediaflow.errors import MediaError
from mediaflow.media import content, images, pages
from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Rendition
from mediaflow.media.tiff import MOST_COUNTED, page_count
from mediaflow.settings import load_settings
from tests import attacks
from workers.watch import Limits, Watch

MEMORY_MB = 2_000
SECONDS = 30.0

Try = Callable[[Path], dict[str, Any]]


def render(path: Path, **renditions: Any) -> Rendition:
    settings = load_settings()
    changed = settings.model_copy(update={"renditions": settings.renditions.model_copy(update=renditions)})
    return make_rendition(str(path), path.parent / f"{path.name}.rendition", changed)


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture
def through_the_child() -> Iterator[Try]:
    """Gives a file to the real child of `prepare`, which has 30 s and 2 GB for it and must outlive it."""
    child = Watch("prepare", Limits(SECONDS, MEMORY_MB), 2, lambda: None, lambda: False)

    def give(path: Path) -> dict[str, Any]:
        [(_, result)] = list(child.work([{"path": str(path), "root": str(path.parent), "asset": None}]))
        assert child._process is not None, f"{path.name}: {result}"
        status = Path(f"/proc/{child._process.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]
        assert peak < MEMORY_MB, f"{path.name}: {peak} MB"
        return result

    yield give
    child.stop()


# --- images ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_image_of_any_format_that_claims_to_be_huge_is_refused(
    tmp_path: Path, through_the_child: Try
) -> None:
    for suffix, data in attacks.claims_to_be_huge().items():
        result = through_the_child(write(tmp_path, f"huge.{suffix}", data))
        assert re.search("the image claims|a damaged .* image: it cannot be decoded", result["reason"]), (
            suffix
        )
        assert result["permanent"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "F", "CMYK"])
def test_the_largest_image_that_is_read_takes_less_than_two_gigabytes(
    tmp_path: Path, through_the_child: Try, mode: str
) -> None:
    path = tmp_path / ("large.tif" if mode in ("F", "CMYK") else "large.png")
    side = 14_480
    assert side * side > images.MAX_PIXELS * 0.99
    options: dict[str, Any] = {"compression": "tiff_lzw"} if path.suffix == ".tif" else {"compress_level": 1}
    Image.new(mode, (side, side)).save(path, **options)
    assert through_the_child(path)["pictures"] == 1


@pytest.mark.parametrize(("form", "side"), [("WEBP", 11_300), ("AVIF", 12_500)])
def test_formats_that_are_decoded_in_several_copies_have_a_lower_limit(form: str, side: int) -> None:
    class Claim:
        format, width, height = form, side, side

    with pytest.raises(MediaError, match="the image claims"):
        images.check_size(Claim())  # type: ignore[arg-type]
    assert side * side < images.MAX_PIXELS


def test_a_large_picture_comes_out_the_same_band_by_band(tmp_path: Path) -> None:
    from mediaflow.media import pixels

    ramp = np.add.outer(np.arange(3000), np.arange(4000)) % 251
    for mode in ("L", "RGBA", "P", "I;16", "F"):
        values = ramp.astype({"I;16": np.uint16, "F": np.float32}.get(mode, np.uint8))
        image = Image.fromarray(values) if mode in ("I;16", "F") else Image.fromarray(values).convert(mode)
        whole = pixels.reduce(image, 200)
        before = pixels._BAND
        try:
            pixels._BAND = 100_000
            assert np.array_equal(np.asarray(pixels.reduce(image, 200)), np.asarray(whole)), mode
        finally:
            pixels._BAND = before


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_what_unpacks_without_end_beside_a_png_is_left_out_and_the_picture_kept(
    tmp_path: Path, kind: bytes
) -> None:
    packed = zlib.compress(bytes(200_000_000), 9)
    start = b"key\0\1\0\0\0" if kind == b"iTXt" else b"key\0\0"
    path = write(tmp_path, "text.png", attacks.png(8, 8, attacks.chunk(kind, start + packed)))
    rendition = render(path)
    assert len(rendition.pictures) == 1
    assert rendition.media["warning"] == "damaged metadata beside the picture were left out"


def test_a_scan_of_a_thousand_pages_says_that_only_the_first_were_read(tmp_path: Path) -> None:
    path = write(tmp_path, "scan.tif", attacks.tiff([(40, 25)] * 1000))
    started = time.monotonic()
    rendition = render(path, max_pages=5)
    assert time.monotonic() - started < 20
    assert [picture.page for picture in rendition.pictures] == [1, 2, 3, 4, 5]
    assert rendition.media["warning"] == "only the first 5 of 1,000 pages were read"


def test_pages_are_counted_without_end_or_reading_them(tmp_path: Path) -> None:
    for data, count in (
        (attacks.tiff([(40, 25)] * 3), 3),
        (attacks.tiff([(40, 25)] * 3, loop=True), 3),
        (attacks.tiff([(40, 25)] * (MOST_COUNTED + 5)), MOST_COUNTED),
        (attacks.tiff([(40, 25)] * 3)[:-130], 2),
        (b"II*\0\xff\xff\xff\xff", 0),
    ):
        with write(tmp_path, "a.tif", data).open("rb") as file:
            assert page_count(file) == count


def test_a_scan_whose_pages_are_all_in_order_has_no_warning(tmp_path: Path) -> None:
    assert "warning" not in render(write(tmp_path, "scan.tif", attacks.tiff([(40, 25)] * 4))).media


def test_the_pages_of_a_scan_have_a_limit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ALL_PIXELS", 2_500)
    rendition = render(write(tmp_path, "scan.tif", attacks.tiff([(40, 25)] * 9)))
    assert rendition.media["warning"] == "only the first 3 of 9 pages were read"


def test_of_an_animation_of_tens_of_thousands_of_frames_the_first_is_read(tmp_path: Path) -> None:
    started = time.monotonic()
    assert len(render(write(tmp_path, "a.gif", attacks.gif_of_many_frames(50_000))).pictures) == 1
    assert time.monotonic() - started < 20


def test_a_decoder_that_complains_without_end_fills_no_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scan = bytearray(attacks.saved("TIFF", "1", (600, 600), compression="group3"))
    with Image.open(io.BytesIO(scan)) as image:
        at, size = (image.tag_v2[tag][0] for tag in (273, 279))  # type: ignore[attr-defined]
    scan[at : at + size] = np.random.default_rng(0).bytes(size)
    with contextlib.suppress(MediaError):
        render(write(tmp_path, "fax.tif", bytes(scan)))
    assert capfd.readouterr().err == ""


# --- recordings --------------------------------------------------------------------------------


def test_a_recording_that_is_too_long_is_cut_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, "long.wav", attacks.wav(seconds=30))
    rendition = render(path, max_hours=10 / 3600)
    assert rendition.media["warning"].startswith("only the first 0.0 hours were read")
    assert 10 <= sound_of(rendition) < 12


def test_sound_whose_clock_stands_still_is_cut_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "still.mkv"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for _ in range(30):
            frame = av.AudioFrame.from_ndarray(np.full((1, 16_000), 99, np.int16), layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            container.mux(stream.encode(frame))
    assert sound_of(render(path, max_hours=10 / 3600)) < 13


def test_a_film_that_is_too_long_is_cut_with_a_warning(tmp_path: Path) -> None:
    path = attacks.film_with_times(tmp_path / "film.mkv", [at / 2 for at in range(400)])
    rendition = render(path, max_hours=20 / 3600)
    assert "were read: the setting renditions.max_hours" in rendition.media["warning"]
    assert max(picture.time or 0 for picture in rendition.pictures) <= 20


def test_one_wrong_time_in_a_film_does_not_end_it(tmp_path: Path) -> None:
    path = attacks.film_with_times(tmp_path / "film.mkv", [at / 2 for at in range(20)])
    data = path.read_bytes()
    # The sixth block of track 1: its time in ms after its cluster's, and that it is a key frame.
    sixth = list(re.finditer(rb"\xa3[^\x81]{1,4}\x81(..)\x80", data, re.DOTALL))[5]
    path.write_bytes(data[: sixth.start(1)] + struct.pack(">h", 32_000) + data[sixth.end(1) :])
    times = [picture.time or 0 for picture in render(path, max_hours=20 / 3600).pictures]
    assert 7 < max(times) < 20


def test_silence_is_written_up_to_the_longest_recording_and_no_further(tmp_path: Path) -> None:
    path = attacks.film_with_times(tmp_path / "film.mkv", [0, 0.5, 5_000], sound_until=5_000)
    rendition = render(path, max_hours=60 / 3600)
    assert sound_of(rendition) < 70


def test_a_clock_that_asks_for_half_a_day_of_silence_is_not_believed(tmp_path: Path) -> None:
    path = attacks.film_with_times(tmp_path / "film.mkv", [0, 40_000], sound_until=40_000)
    started = time.monotonic()
    assert sound_of(render(path)) < 10
    assert time.monotonic() - started < 20


def test_sound_of_a_rate_that_nobody_hears_is_no_sound(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(MediaError, match="no sound in it can be decoded"):
        render(write(tmp_path, "slow.wav", attacks.wav(rate=1, seconds=60)))
    assert time.monotonic() - started < 20


def test_sound_that_no_decoder_knows_is_neither_picture_nor_sound(tmp_path: Path) -> None:
    data = bytearray(attacks.wav())
    data[20:22] = b"\x34\x12"  # the number of its codec
    with pytest.raises(MediaError, match="neither picture nor sound"):
        render(write(tmp_path, "odd.wav", bytes(data)))


def test_sound_of_more_channels_than_can_be_mixed_is_a_damaged_file(tmp_path: Path) -> None:
    data = bytearray(attacks.wav())
    data[22:24], data[32:34] = struct.pack("<H", 200), struct.pack("<H", 400)  # channels, bytes of a sample
    with pytest.raises(MediaError, match="no sound in it can be decoded"):
        render(write(tmp_path, "many.wav", bytes(data)))


def test_a_file_that_points_outside_itself_is_damaged_for_good() -> None:
    assert content.unreadable(OSError(errno.EINVAL, "Invalid argument")).permanent
    assert not content.unreadable(OSError(errno.EIO, "Input/output error")).permanent


def test_a_film_of_more_frames_than_can_be_shown_is_cut(tmp_path: Path) -> None:
    path = attacks.film_with_times(tmp_path / "film.mkv", [at / 1000 for at in range(5_000)])
    assert "more frames than a video can show" in render(path).media["warning"]


def test_a_recording_that_takes_too_long_to_decode_keeps_what_was_read(tmp_path: Path) -> None:
    path = attacks.film_with_times(tmp_path / "film.mkv", [at / 2 for at in range(2_000)])
    settings = load_settings()
    hasty = settings.model_copy(update={"prepare": settings.prepare.model_copy(update={"seconds": 0.2})})
    rendition = make_rendition(str(path), tmp_path / "r", hasty)
    assert "takes too long to decode" in rendition.media["warning"]
    assert rendition.pictures


def test_a_video_larger_than_8k_is_refused(tmp_path: Path) -> None:
    path = attacks.video(tmp_path / "wide.mp4", frames=1, size=(16_000, 2_400))
    with pytest.raises(MediaError, match="claims frames of 16000 × 2400 pixels"):
        render(path)


@pytest.mark.slow
def test_headers_that_lie_about_size_or_duration_end_with_a_reason(
    tmp_path: Path, through_the_child: Try
) -> None:
    film = bytearray(attacks.video(tmp_path / "film.mp4").read_bytes())
    lies = {}
    for field, at, value in (
        ("mvhd", 16, b"\xff\xff\xff\x7f"), ("mdhd", 16, b"\xff\xff\xff\x7f"),
        ("stsz", 4, b"\0\0\0\1\x0f\xff\xff\xff"), ("stts", 8, b"\0\xff\xff\xff\x0f\xff\xff\xff"),
        ("stsc", 12, b"\0\xff\xff\xff"), ("stco", 4, b"\x7f\xff\xff\xff"),
        ("avcC", -60, b"\xff\xff\xff\xff"), ("mdat", -4, b"\x7f\xff\xff\xff"),
    ):  # fmt: skip
        lying = bytearray(film)
        place = lying.index(field.encode()) + (4 + at if at > 0 else at)
        lying[place : place + len(value)] = value
        lies[f"{field}.mp4"] = bytes(lying)
    lies["size.wav"] = attacks.wav(claimed=0xFFFFFFF0)
    lies["nothing.wav"] = attacks.wav(claimed=0)
    avi = bytearray(attacks.video(tmp_path / "film.avi").read_bytes())
    avi[avi.index(b"avih") + 8 + 16 :][:4] = b"\xff\xff\xff\x7f"
    avi[4:8] = b"\xff\xff\xff\x7f"
    lies["size.avi"] = bytes(avi)
    for name, data in lies.items():
        result = through_the_child(write(tmp_path, name, data))
        assert not re.match(r"\w+Error", result.get("reason", "")), (name, result)


def sound_of(rendition: Rendition) -> float:
    with av.open(str(rendition.path(rendition.audio[0].file))) as container:
        return float(container.duration or 0) / 1e6
