"""Makes the sample folder of the demo: photos, scans, recordings and a video, as people have them.

usage: python scripts/make_sample.py FOLDER [--wheels CACHE]

Nothing in it is committed: the photos come out of the wheels of scikit-image and scikit-learn, scans
are rendered with a font of reportlab's wheel, and eSpeak NG speaks (configs/requirements-demo.lock).
The wheels are read, not installed. Names of photos do not say what they show. Made again, the same
bytes come out.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import pillow_heif
from av.audio.stream import AudioStream
from av.container import OutputContainer
from espeak import Speaker
from PIL import Image, ImageDraw, ImageFilter
from sample_texts import LEASE, LETTER, MEMOS, NARRATION, PHOTOS, RECEIPT, SCENES
from wheels import LOCK, Wheels

MARKER = ".mediaflow-sample"
SOUND_RATE = 48000  # samples a second; Opus takes no other
BITEXACT = {"fflags": "+bitexact"}  # no random serial numbers, no dates
PACE = 150  # words a minute
ROTATED = 6  # EXIF: turn right by 90 degrees to see it upright


def make_photos(wheels: Wheels, folder: Path) -> None:
    """Photos in the formats of cameras and telephones, one of them stored sideways, two of them twice."""
    pillow_heif.register_heif_opener()
    folder.mkdir()
    for name, (source, taken) in PHOTOS.items():
        picture = wheels.picture(source)
        exif = Image.Exif()
        exif[0x0132] = taken
        if name == "IMG_2041.jpg":
            exif[0x0112] = ROTATED
            picture = picture.transpose(Image.Transpose.ROTATE_90)
        picture.save(folder / name, quality=90, exif=exif)
    shutil.copy(folder / "IMG_2048.png", folder / "IMG_2048 (1).png")
    (folder / "favourites").mkdir()
    shutil.copy(folder / "IMG_2050.jpg", folder / "favourites" / "wallpaper.jpg")
    make_sign(wheels).save(folder / "IMG_2053.jpg", quality=90)


def make_sign(wheels: Wheels) -> Image.Image:
    """A sign on a brick wall."""
    wall = wheels.picture("skimage/data/brick.png").resize((1024, 1024), Image.Resampling.BICUBIC)
    sign = Image.new("RGB", (640, 300), (250, 215, 60))
    draw = ImageDraw.Draw(sign)
    draw.rectangle((10, 10, 630, 290), outline="black", width=6)
    draw.multiline_text(
        (320, 150), "EMERGENCY EXIT\nNO PARKING\nday and night", "black", wheels.font(56), "mm", 16, "center"
    )
    wall.paste(sign, (190, 330))
    return wall.rotate(2, Image.Resampling.BICUBIC, expand=False, fillcolor=(120, 120, 120))


def make_scan(wheels: Wheels, text: str, size: tuple[int, int], font: int, seed: int) -> Image.Image:
    """A page as it comes out of a scanner: (width, height) pixels, a little crooked, soft and noisy.

    What follows a tab is set to the right, as prices are.
    """
    page = Image.new("L", size, 246)
    draw, face = ImageDraw.Draw(page), wheels.font(font)
    for number, line in enumerate(text.splitlines()):
        left, _, right = line.partition("\t")
        height = size[1] * 0.1 + number * font * 1.6
        draw.text((size[0] * 0.12, height), left, 25, face)
        draw.text((size[0] * 0.8, height), right, 25, face, anchor="ra")
    page = page.rotate(0.5, Image.Resampling.BICUBIC, fillcolor=246).filter(ImageFilter.GaussianBlur(0.6))
    noise = np.random.default_rng(seed).normal(0, 4, (size[1], size[0]))
    return Image.fromarray(np.clip(np.asarray(page) + noise, 0, 255).astype(np.uint8))


def make_scans(wheels: Wheels, folder: Path) -> None:
    """A letter in English; a lease of two pages and a receipt in German; a photographed page of a book."""
    folder.mkdir()
    make_scan(wheels, LETTER, (1240, 1240), 38, 1).save(folder / "scan_001.jpg", quality=85)
    pages = [make_scan(wheels, text, (1240, 1500), 38, 2 + at) for at, text in enumerate(LEASE)]
    pages[0].save(folder / "scan_002.tif", save_all=True, append_images=pages[1:], compression="jpeg")
    make_scan(wheels, RECEIPT, (760, 900), 32, 4).save(folder / "scan_003.png")
    (folder / "scan_004.png").write_bytes(wheels.read("skimage/data/page.png"))


def add_sound(container: OutputContainer, codec: str) -> AudioStream:
    """A new mono stream of the container; the codec must be one for sound."""
    stream = container.add_stream(codec, rate=SOUND_RATE, layout="mono")
    assert isinstance(stream, AudioStream)
    return stream


def write_sound(container: OutputContainer, stream: AudioStream, samples: np.ndarray, rate: int) -> None:
    """Write (samples,) int16 mono sound of `rate` per second to a stream of the container."""
    codec = stream.codec_context
    resampler = av.AudioResampler(codec.format, codec.layout, codec.sample_rate, codec.frame_size or None)
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = rate
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


def make_memos(speaker: Speaker, folder: Path) -> None:
    """Voice memos in English and German."""
    folder.mkdir()
    for name, (codec, voice, text) in MEMOS.items():
        with av.open(str(folder / name), "w", options=BITEXACT) as container:
            write_sound(
                container,
                add_sound(container, codec),
                speaker.say(" ".join(text.split()), voice, PACE),
                speaker.rate,
            )


def make_video(wheels: Wheels, speaker: Speaker, path: Path) -> None:
    """A report: three pictures that the camera slowly closes in on, with a caption and a narrator."""
    path.parent.mkdir()
    speech = speaker.say(NARRATION, "en-us", PACE)
    fps, width, height = 12, 640, 480
    frames = int(len(speech) / speaker.rate * fps) + fps
    with av.open(str(path), "w", options=BITEXACT) as container:
        video = container.add_stream(
            "libx264", rate=fps, options={"crf": "26", "preset": "veryfast", "threads": "1"}
        )
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = add_sound(container, "aac")
        for number in range(frames):
            at, within = divmod(number * len(SCENES), frames)
            still = _zoomed(wheels.picture(SCENES[at]), 1 + 0.2 * within / frames, (width, height))
            ImageDraw.Draw(still).text(
                (20, 430), "SPACE CENTER NEWS", "white", wheels.font(32), stroke_width=3, stroke_fill="black"
            )
            container.mux(video.encode(av.VideoFrame.from_image(still)))
        container.mux(video.encode(None))
        write_sound(container, sound, speech, speaker.rate)


def _zoomed(picture: Image.Image, factor: float, size: tuple[int, int]) -> Image.Image:
    """The middle of the picture, in the shape of `size`, closer by `factor`."""
    scale = factor * max(size[0] / picture.width, size[1] / picture.height)
    wide, high = size[0] / scale, size[1] / scale
    left, top = (picture.width - wide) / 2, (picture.height - high) / 2
    return picture.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + wide, top + high))


def _identity() -> str:
    """Changes when another sample would come out."""
    names = ("make_sample.py", "sample_texts.py", "espeak.py", "wheels.py")
    sources = [LOCK, *(Path(__file__).with_name(name) for name in names)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def make_sample(folder: Path, cache: Path) -> bool:
    """Make the folder unless this version of it is there; True when it was made.

    Raises FileExistsError when something else is at its place: nobody's folder is overwritten.
    """
    marker = folder / MARKER
    if marker.exists() and marker.read_text() == _identity():
        return False
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise FileExistsError(f"{folder} is there already and is not a sample folder. Name another one.")
    wheels = Wheels(cache)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        fresh = Path(temporary) / "sample"
        fresh.mkdir(mode=0o755)
        make_photos(wheels, fresh / "photos")
        make_scans(wheels, fresh / "scans")
        speaker = wheels.speaker()
        make_memos(speaker, fresh / "voice")
        make_video(wheels, speaker, fresh / "video" / "MOV_0007.mp4")
        (fresh / "photos" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (fresh / MARKER).write_text(_identity())
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    return True


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Makes the sample folder of the demo.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wheels", type=Path, default=Path(".demo/wheels"), help="where downloads are kept")
    given = parser.parse_args()
    try:
        made = make_sample(given.folder.absolute(), given.wheels.absolute())
    except FileExistsError as error:
        sys.exit(f"make_sample: {error}")
    except subprocess.CalledProcessError:
        sys.exit("make_sample: the wheels could not be downloaded (pip's message is above).")
    files = sum(1 for path in given.folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    print(f"{'made' if made else 'there is'} {given.folder}: {files} files")


if __name__ == "__main__":
    main()
