"""Small files that lie about what is in them: each claims what would take memory or time without end."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 50_000


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that claims a size, with these chunks before its only row of data."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1 + 3 * min(width, 1000))))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + data + chunk(b"IEND", b"")


def saved(form: str, mode: str = "RGB", size: tuple[int, int] = (64, 64), **options: object) -> bytes:
    if form in ("HEIF", "AVIF"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    noise = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def claims_to_be_huge() -> dict[str, bytes]:
    """Images of every format whose header says 50,000 × 50,000 pixels."""
    jpeg, gif = bytearray(saved("JPEG")), bytearray(saved("GIF", "P"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", SIDE, SIDE)
    gif[6:10] = struct.pack("<HH", SIDE, SIDE)
    bmp, qoi = bytearray(saved("BMP")), bytearray(saved("QOI"))
    bmp[18:26] = struct.pack("<ii", SIDE, SIDE)
    qoi[4:12] = struct.pack(">II", SIDE, SIDE)
    jp2 = bytearray(saved("JPEG2000"))
    box, siz = jp2.index(b"ihdr") + 4, jp2.index(b"\xff\x51")
    jp2[box : box + 8] = jp2[siz + 6 : siz + 14] = struct.pack(">II", SIDE, SIDE)
    psd = (
        b"8BPS\0\1" + bytes(6) + b"\0\x03" + struct.pack(">II", 30_000, 30_000) + b"\0\x08\0\x03" + bytes(500)
    )
    sized = {}
    for form in ("HEIF", "AVIF"):
        data = bytearray(saved(form))
        at = data.index(b"ispe") + 8
        data[at : at + 8] = struct.pack(">II", SIDE, SIDE)
        sized[form.lower()] = bytes(data)
    return {
        "png": png(SIDE, SIDE), "jpg": bytes(jpeg), "gif": bytes(gif), "bmp": bytes(bmp), "qoi": bytes(qoi),
        "jp2": bytes(jp2), "psd": psd, "ppm": b"P6 50000 50000 255\n" + bytes(100),
        "tif": tiff([(SIDE, SIDE)]), "webp": webp(16_383, 16_383), **sized,
    }  # fmt: skip


def webp(width: int, height: int) -> bytes:
    """A WebP with alpha whose canvas is this large and whose picture is small."""
    inner = saved("WEBP", "RGBA", lossless=True)[12:]
    canvas = b"\x10\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    head = b"VP8X" + (10).to_bytes(4, "little") + canvas
    body = b"WEBP" + head + (inner if inner[:4] != b"VP8X" else inner[18:])
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def tiff(sizes: list[tuple[int, int]], loop: bool = False) -> bytes:
    """A TIFF of grey pages of these sizes, which share one deflated strip; `loop` ends where it began."""
    strip = zlib.compress(bytes(1000))
    data = bytearray(b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip)
    for number, (width, height) in enumerate(sizes, 1):
        tags = [(254, 4, 0), (256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 8), (262, 3, 1),
                (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(strip))]  # fmt: skip
        entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
        after = len(data) + 2 + len(entries) + 4
        follows = 8 + len(strip) if loop else 0
        data += struct.pack("<H", len(tags)) + entries
        data += struct.pack("<I", after if number < len(sizes) else follows)
    return bytes(data)


def gif_of_many_frames(count: int) -> bytes:
    one = saved("GIF", "P", (8, 8))
    head = one[: one.index(b"\x2c")]
    frame = one[one.index(b"\x2c") : -1]
    return head + frame * count + b";"


def wav(rate: int = 16_000, seconds: float = 1.0, claimed: int | None = None) -> bytes:
    """A WAV file of noise; its header may claim another rate, or so many bytes of sound."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        noise = np.random.default_rng(0).integers(-9000, 9000, round(16_000 * seconds), np.int16)
        file.writeframes(noise.tobytes())
    data = bytearray(buffer.getvalue())
    if claimed is not None:
        data[4:8] = data[40:44] = struct.pack("<I", claimed)
    return bytes(data)


def video(
    path: Path, frames: int = 40, size: tuple[int, int] = (64, 48), rate: int = 10, **options: str
) -> Path:
    """A film of one picture after another, each packet one tick of the clock after the last."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", **options})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for at in range(frames):
            values = np.full((size[1], size[0], 3), (at * 40) % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values)))
        container.mux(stream.encode(None))
    return path


def film_with_times(path: Path, times: list[float], sound_until: float = 0.0) -> Path:
    """A Matroska film whose pictures stand at these seconds, with a second of sound at `sound_until`."""
    import av

    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16_000, layout="mono") if sound_until else None
        packets = []
        for at in range(len(times)):
            values = np.random.default_rng(at).integers(0, 255, (48, 64, 3)).astype(np.uint8)
            packets += stream.encode(av.VideoFrame.from_ndarray(values))
        packets += stream.encode(None)
        for packet, when in zip(packets, times, strict=True):
            packet.pts = packet.dts = round(when / packet.time_base)
            container.mux(packet)
        if sound:
            for begin in (0.0, sound_until):
                frame = av.AudioFrame.from_ndarray(np.full((1, 16_000), 99, np.int16), layout="mono")
                frame.sample_rate, frame.pts = 16_000, round(begin * 16_000)
                container.mux(sound.encode(frame))
    return path
