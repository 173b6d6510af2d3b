"""What the fuzzer starts from: real media where there is any, and small files of every kind."""

from __future__ import annotations

import io
import json
import os
import wave
from pathlib import Path

import numpy as np

LARGEST = 2_000_000  # bytes of a real file that is taken


def real(limit: int = 400) -> list[bytes]:
    """Files of MEDIAFLOW_TEST_MEDIA, the smallest first."""
    folder = Path(os.environ.get("MEDIAFLOW_TEST_MEDIA") or "../shared/media")
    manifest = folder / "manifest.jsonl"
    if not manifest.is_file():
        return []
    names = [json.loads(line)["path"] for line in manifest.read_text().splitlines()]
    paths = sorted((folder / name for name in names), key=lambda path: path.stat().st_size)
    return [path.read_bytes() for path in paths if 0 < path.stat().st_size < LARGEST][:limit]


def generated() -> list[bytes]:
    """One small file of every format that can be written here."""
    return [*_images(), *_recordings(), _sound()]


def _images() -> list[bytes]:
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8)
    picture = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    exif.get_ifd(0x8769)[0x9003] = "2021:05:06 07:08:09"
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (151.0, 15.0, 0.0)})
    made = []
    for form, mode, options in (
        ("JPEG", "RGB", {"exif": exif}), ("JPEG", "CMYK", {}), ("JPEG", "L", {"progressive": True}),
        ("PNG", "RGB", {"exif": exif}), ("PNG", "P", {"transparency": 3}), ("PNG", "RGBA", {}),
        ("PNG", "1", {}),
        ("GIF", "P", {"save_all": True, "append_images": [picture.convert("P")] * 3}),
        ("WEBP", "RGBA", {"exif": exif}), ("WEBP", "RGB", {"save_all": True, "append_images": [picture] * 3}),
        ("TIFF", "RGB", {"save_all": True, "append_images": [picture] * 3, "exif": exif}),
        ("TIFF", "1", {"compression": "group4"}), ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "F", {}), ("TIFF", "CMYK", {"compression": "tiff_adobe_deflate"}),
        ("HEIF", "RGB", {"exif": exif}), ("HEIF", "RGBA", {}), ("AVIF", "RGB", {}), ("AVIF", "RGBA", {}),
        ("BMP", "P", {}), ("BMP", "RGB", {}), ("JPEG2000", "RGB", {}), ("JPEG2000", "L", {"no_jp2": False}),
        ("PPM", "RGB", {}), ("QOI", "RGB", {}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, form, **options)  # type: ignore[arg-type]
        made.append(buffer.getvalue())
    return [*made, _psd()]


def _psd() -> bytes:
    """The smallest PSD: 8 × 8 pixels of RGB, not packed."""
    head = b"8BPS\0\1" + bytes(6) + (3).to_bytes(2, "big") + (8).to_bytes(4, "big") * 2 + b"\0\x08\0\x03"
    return head + bytes(12) + b"\0\0" + bytes(range(192))


def _sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.writeframes(np.random.default_rng(1).integers(-9000, 9000, 22_050, np.int16).tobytes())
    return buffer.getvalue()


def _recordings() -> list[bytes]:
    made = []
    for form, video, audio in (
        ("mp4", "mpeg4", "aac"), ("matroska", "libx264", "libopus"), ("webm", "libvpx", "libopus"),
        ("avi", "mjpeg", "pcm_s16le"), ("mpegts", "mpeg2video", "mp2"), ("mov", "libx264", "pcm_s16le"),
        ("flv", "flv", ""), ("mp3", "", "libmp3lame"), ("flac", "", "flac"), ("ogg", "", "libvorbis"),
        ("ipod", "", "aac"), ("aiff", "", "pcm_s16be"), ("wav", "", "adpcm_ima_wav"),
        ("asf", "wmv2", "wmav2"),
    ):  # fmt: skip
        made.append(_recording(form, video, audio))
    return [each for each in made if each]


def _recording(form: str, video: str, audio: str) -> bytes:
    """Two seconds of moving noise and a tone; empty where this FFmpeg has no such encoder."""
    import av

    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format=form) as container:
            pictures = container.add_stream(video, rate=10) if video else None
            if pictures:
                pictures.width, pictures.height, pictures.pix_fmt = 96, 64, "yuv420p"
                if video == "mjpeg":
                    pictures.pix_fmt = "yuvj420p"
            rate = 48_000 if audio == "libopus" else 22_050
            sounds = container.add_stream(audio, rate=rate, layout="mono") if audio else None
            if pictures:
                for at in range(20):
                    values = np.random.default_rng(at // 5).integers(0, 255, (64, 96, 3)).astype(np.uint8)
                    frame = av.VideoFrame.from_ndarray(values)
                    container.mux(pictures.encode(frame.reformat(format=pictures.pix_fmt)))
                container.mux(pictures.encode(None))
            if sounds:
                tone = (np.sin(np.arange(rate * 2) / 20) * 9000).astype(np.int16)[None]
                piece = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
                piece.sample_rate = rate
                resampler = av.AudioResampler(
                    format=sounds.format, layout="mono", rate=rate, frame_size=sounds.frame_size or 1024
                )
                for frame in [*resampler.resample(piece), *resampler.resample(None)]:
                    container.mux(sounds.encode(frame))
                container.mux(sounds.encode(None))
    except (av.FFmpegError, ValueError):
        return b""
    return buffer.getvalue()
