"""High dynamic range: known light levels, and a picture that is neither grey nor burnt out."""

from __future__ import annotations

import av
import numpy as np
import pytest

from mediaflow.media.hdr import _hlg, _pq, tone_map


def test_pq_signals_mean_the_light_that_the_standard_says() -> None:
    """SMPTE ST 2084: 0.508 is 100 cd/m², 0.581 is 203 cd/m² (ITU-R BT.2408)."""
    grey = np.full((1, 1, 3), 1.0)
    assert _pq(grey * 0.508).mean() == pytest.approx(100, rel=0.02)
    assert _pq(grey * 0.581).mean() == pytest.approx(203, rel=0.02)
    assert _pq(grey).mean() == pytest.approx(10_000, rel=0.001)
    assert _pq(grey * 0).mean() == pytest.approx(0, abs=1e-6)


def test_hlg_signals_mean_the_light_that_the_standard_says() -> None:
    """ITU-R BT.2408: a white sheet is 75 % of the HLG signal, 203 cd/m² on a display of 1,000."""
    grey = np.full((1, 1, 3), 1.0, np.float32)
    assert _hlg(grey * 0.75).mean() == pytest.approx(203, rel=0.02)
    assert _hlg(grey).mean() == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize(("transfer", "white"), [(16, 0.581), (18, 0.75)])
def test_a_white_sheet_is_bright_and_greys_keep_their_order(transfer: int, white: float) -> None:
    ramp = np.linspace(0, white, 64) * 219 * 256 + 16 * 256
    pixels = np.tile(ramp.astype(np.uint16)[None, :], (16, 1))
    frame = av.VideoFrame.from_ndarray(pixels, format="gray16le").reformat(format="yuv420p10le")
    frame.color_trc, frame.color_primaries = transfer, 9
    shown = np.asarray(tone_map(frame, (64, 16)))[8].astype(int)
    assert shown[-1].mean() > 200
    assert np.all(np.diff(shown.mean(axis=1)) >= -2)
    assert np.ptp(shown, axis=1).max() <= 12  # grey stays grey
