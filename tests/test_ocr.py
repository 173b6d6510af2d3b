"""The task `ocr`: lines, boxes in the original's pixels, reading order, one appearance a subtitle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from jobs.ocr import Line, Ocr, TextReader, appearances
from mediaflow.errors import MediaError, ModelError
from mediaflow.media.prepare import make_rendition
from mediaflow.media.rendition import Picture, Rendition
from mediaflow.models.store import model_folder
from mediaflow.settings import load_settings

WHERE = np.array([[10, 400], [300, 400], [300, 420], [10, 420]])


def line(text: str, confidence: float = 0.9, time: float = 0.0, down: int = 0) -> Line:
    return Line(text, confidence, WHERE + np.array([0, down]), time=time)


def texts(pictures: list[list[Line]]) -> list[list[str]]:
    return [[line.text for line in lines] for lines in pictures]


@pytest.fixture(scope="module")
def ocr() -> Ocr:
    task = Ocr(load_settings())
    task.load()
    return task


def written(folder: Path, *rows: str, scale: float = 1.0, turn: int = 0, pictures: int = 1) -> Rendition:
    """A rendition whose pictures show rows of text, black on white."""
    folder.mkdir(exist_ok=True)
    image = Image.new("RGB", (900, 120 + 70 * len(rows)), "white")
    font = ImageFont.load_default(40)
    for number, row in enumerate(rows):
        ImageDraw.Draw(image).text((60, 60 + 70 * number), row, fill="black", font=font)
    image = image.rotate(-90 * turn, expand=True)
    image.save(folder / "0.jpg", quality=95)
    files = tuple(Picture("0.jpg", *image.size, scale) for _ in range(pictures))
    return Rendition("a", "image", folder, pictures=files)


def test_a_subtitle_that_stays_is_reported_once_at_its_first_second() -> None:
    seen = [[line("Let me go!", time=second)] for second in (1.0, 2.0, 3.0)]
    kept = appearances(seen)
    assert texts(kept) == [["Let me go!"], [], []]
    assert kept[0][0].time == 1.0


def test_the_surest_reading_of_an_appearance_is_kept() -> None:
    kept = appearances([[line("Let rne go!", 0.7, 1.0)], [line("Let me go!", 0.99, 2.0)]])
    assert texts(kept) == [["Let me go!"], []]
    assert (kept[0][0].confidence, kept[0][0].time) == (0.99, 1.0)


def test_a_line_that_is_missed_in_one_picture_is_still_the_same_appearance() -> None:
    assert texts(appearances([[line("EXIT")], [], [line("EXIT")]])) == [["EXIT"], [], []]


def test_a_line_that_comes_back_later_is_a_new_appearance() -> None:
    seen = [[line("squawk")], [], [], [line("squawk")]]
    assert texts(appearances(seen)) == [["squawk"], [], [], ["squawk"]]


def test_the_same_words_elsewhere_in_the_picture_are_another_line() -> None:
    assert texts(appearances([[line("EXIT")], [line("EXIT", down=-300)]])) == [["EXIT"], ["EXIT"]]


@pytest.mark.slow
def test_words_and_amounts_are_read_row_by_row(ocr: Ocr, tmp_path: Path) -> None:
    data = ocr.analyse([written(tmp_path, "Summe: 12,50 EUR", "Rechnung 471102")])[0].data
    assert data["text"] == "Summe: 12,50 EUR\nRechnung 471102"
    assert all(each["confidence"] > 0.9 for each in data["lines"])


@pytest.mark.slow
def test_boxes_are_pixels_of_the_original_not_of_the_rendition(ocr: Ocr, tmp_path: Path) -> None:
    (full,) = ocr.analyse([written(tmp_path / "a", "Rechnung 471102")])[0].data["lines"]
    (half,) = ocr.analyse([written(tmp_path / "b", "Rechnung 471102", scale=0.5)])[0].data["lines"]
    assert np.array(half["box"]) == pytest.approx(np.array(full["box"]) * 2, abs=1)
    left, top = np.min(full["box"], axis=0)
    assert 40 <= left <= 70
    assert 50 <= top <= 80


@pytest.mark.slow
@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_scan_in_any_direction_reads_the_same(ocr: Ocr, tmp_path: Path, turn: int) -> None:
    rows = ("The quick brown fox", "jumps over the lazy dog", "and runs away from it")
    assert ocr.analyse([written(tmp_path, *rows, turn=turn)])[0].data["text"] == "\n".join(rows)


@pytest.mark.slow
def test_a_line_longer_than_any_page_is_read_to_its_end_once(ocr: Ocr, tmp_path: Path) -> None:
    row = " ".join(f"{word} {number}" for number, word in enumerate(["Birnbaum", "Laterne", "Walnuss"] * 11))
    font = ImageFont.load_default(40)
    size = (round(font.getlength(row)) + 100, 90)
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((50, 20), row, fill="black", font=font)
    image.save(tmp_path / "0.jpg", quality=95)
    (line,) = ocr._reader.read(np.asarray(image))
    assert line.text.split() == row.split()
    assert line.box[:, 0].max() == pytest.approx(size[0] - 50, abs=20)


@pytest.mark.slow
def test_a_picture_without_writing_has_no_lines(ocr: Ocr, tmp_path: Path) -> None:
    assert ocr.analyse([written(tmp_path)])[0].data == {"text": "", "lines": []}


@pytest.mark.slow
@pytest.mark.parametrize("size", [(2000, 12), (9, 2000), (3, 3), (1, 1)])
def test_the_oddest_shapes_are_no_error(ocr: Ocr, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, "white").save(tmp_path / "0.jpg")
    rendition = Rendition("a", "image", tmp_path, pictures=(Picture("0.jpg", *size),))
    assert ocr.analyse([rendition])[0].data["lines"] == []


@pytest.mark.slow
def test_a_recording_of_sound_has_no_text(ocr: Ocr, tmp_path: Path) -> None:
    assert ocr.analyse([Rendition("a", "audio", tmp_path)])[0].data == {"text": "", "lines": []}


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, b"", b"\xff\xd8\xff\xe0 cut short"])
def test_a_damaged_rendition_can_be_made_again(ocr: Ocr, tmp_path: Path, content: bytes | None) -> None:
    rendition = written(tmp_path, "text")
    rendition.path("0.jpg").unlink()
    if content is not None:
        rendition.path("0.jpg").write_bytes(content)
    with pytest.raises(MediaError, match=r"0\.jpg") as raised:
        ocr.analyse([rendition])
    assert not raised.value.permanent


@pytest.mark.slow
def test_a_german_invoice_is_read_without_a_wrong_word(ocr: Ocr, media: Path, tmp_path: Path) -> None:
    from benchmarks.quality import read_manifest
    from benchmarks.quality.ocr import score

    path = "ocr/german_docs/EN16931_Einfach.png"
    manifest = [entry for entry in read_manifest(media) if entry["path"] == path]
    rendition = make_rendition(str(media / path), tmp_path / "r", load_settings())
    data = ocr.analyse([rendition])[0].data
    assert "Anschrift: Lieferantenstraße 20\nDE 80333 München" in data["text"]
    figures = score({path: data}, manifest, media)["german_docs"]
    assert figures["recall"] > 0.98
    assert figures["cer"] < 0.01


@pytest.mark.slow
def test_burnt_in_subtitles_of_a_film_come_with_their_seconds(ocr: Ocr, media: Path, tmp_path: Path) -> None:
    path = media / "video/thanks_for_watching.mp4"
    rendition = make_rendition(str(path), tmp_path / "r", load_settings())
    lines = ocr.analyse([rendition])[0].data["lines"]
    assert [each["text"] for each in lines] == ["THANKS FOR WATCHING"]
    assert 2 <= lines[0]["time"] <= 6  # it fades in before the 2.5 s of the truth


@pytest.mark.slow
def test_the_reader_prints_nothing_and_asks_no_network(tmp_path: Path) -> None:
    """In a process of its own, as RapidOCR logs when it is imported, and with no network at all."""
    written(tmp_path, "Rechnung 471102")
    program = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from pathlib import Path\n"
        "from jobs.ocr import Ocr\n"
        "from mediaflow.media.rendition import Picture, Rendition\n"
        "from mediaflow.settings import load_settings\n"
        "task = Ocr(load_settings())\n"
        "task.load()\n"
        "picture = Picture('0.jpg', 900, 190)\n"
        "rendition = Rendition('a', 'image', Path(sys.argv[1]), pictures=(picture,))\n"
        "print(task.analyse([rendition])[0].data['text'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Rechnung 471102\n", "")


@pytest.mark.slow
def test_a_recogniser_without_a_list_of_characters_is_refused(ocr: Ocr, tmp_path: Path) -> None:
    (detector,) = model_folder("rapidocr-ppocrv6").glob("*_det_*.onnx")
    for part in ("det", "rec"):
        (tmp_path / f"x_{part}_x.onnx").symlink_to(detector)
    with pytest.raises(ModelError, match="characters"):
        TextReader(tmp_path, ocr)
