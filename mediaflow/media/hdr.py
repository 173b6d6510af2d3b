"""Video frames in sRGB, those of high dynamic range toned down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av
    from PIL import Image

_PQ, _HLG = 16, 18  # transfer characteristics (ITU-T H.273)
_WIDE = 9  # colour primaries of BT.2020
_TO_709 = np.array(  # ITU-R BT.2087, linear light
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_WHITE = 203.0  # cd/m² of a white sheet in an HDR picture (ITU-R BT.2408)


def tone_map(frame: av.VideoFrame, size: tuple[int, int]) -> Image.Image:
    """The frame at `size` (width, height) as an sRGB picture."""
    from PIL import Image

    if frame.color_trc not in (_PQ, _HLG):
        return Image.fromarray(frame.reformat(*size, format="rgb24", interpolation="LANCZOS").to_ndarray())
    deep = frame.reformat(*size, format="rgb48le", interpolation="LANCZOS").to_ndarray()
    signal = deep.astype(np.float32) / 65535.0
    light = (_pq(signal) if frame.color_trc == _PQ else _hlg(signal)) / _WHITE
    if frame.color_primaries == _WIDE:
        light = light @ _TO_709.T
    light = light.clip(0)
    peak = light.max(axis=2, keepdims=True)
    light = light * ((1 + peak / 25) / (1 + peak)) * 1.5  # Reinhard et al. 2002, eq. 4, white at 5
    shown = np.where(light <= 0.0031308, light * 12.92, 1.055 * light.clip(1e-6) ** (1 / 2.4) - 0.055)
    return Image.fromarray((shown * 255).clip(0, 255).astype(np.uint8))


def _pq(signal: np.ndarray) -> np.ndarray:
    """Light in cd/m² of a PQ signal (SMPTE ST 2084)."""
    power = signal ** (1 / 78.84375)
    light = ((power - 0.8359375).clip(0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    return np.asarray(10_000 * light)


def _hlg(signal: np.ndarray) -> np.ndarray:
    """Light in cd/m² of an HLG signal on a display of 1,000 cd/m² (ITU-R BT.2100)."""
    scene = np.where(
        signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    )
    luma = scene @ np.array([0.2627, 0.678, 0.0593], np.float32)
    return np.asarray(1000 * scene * luma[..., None].clip(1e-6) ** 0.2)
