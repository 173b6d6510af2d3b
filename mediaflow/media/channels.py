"""Channels: sound of any number of channels mixed to one, in which all that is said can be heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av

_SECONDS = 5.0  # of sound that are mixed alike
_MAX_VALUES = 4_000_000  # of all channels held together: this bounds the memory
_FRAME = 0.03  # seconds: about a syllable's vowel
# A channel whose loud frames are not this much louder (power) than its quiet ones is noise or hum …
_STEADY = 2.0
# … and one with this part of the power of the most lively channel, or less, only adds noise.
_FAINT = 1e-3
_OPPOSED = -0.5  # correlation with the most lively channel below which a channel's phase is turned
# How films are mixed down (ITU-R BS.775): what is said is in the centre.
_CENTRE, _SIDES, _REST = 1.0, 0.7071, 0.5
_MAX_PLANES = 8
_FADE = 0.02  # seconds in which one mix becomes the next


class Mixer:
    """Mixes frames of one rate and layout to mono, some seconds at a time.

    Which channels are heard is decided by what is in them and not by their names: those that are as
    lively as speech, in phase. So a voice on one channel of many is not made fainter, two speakers on
    two channels are both kept, a stereo pair of opposite phase does not cancel out, and hum is left out.
    """

    def __init__(self, rate: int, layout: av.AudioLayout) -> None:
        names = [channel.name for channel in layout.channels]
        self._shares = _shares(names)
        self.rate = rate
        self._packer: av.AudioResampler | None = None
        self._held: list[np.ndarray] = []
        self._length = 0
        self._gains: np.ndarray | None = None
        self._lively = np.zeros(len(names))

    @property
    def seconds(self) -> float:
        """What is held and not mixed yet."""
        return self._length / self.rate

    def feed(self, frame: av.AudioFrame) -> np.ndarray | None:
        """Take a frame; the mixed samples (n,) float32 in -1 … 1 where enough has come, or None."""
        for each in self._packed(frame):
            values = _values(each, len(self._shares))
            self._held.append(values)
            self._length += values.shape[1]
        full = self._length >= _SECONDS * self.rate or self._length * len(self._shares) >= _MAX_VALUES
        return self.flush() if full else None

    def _packed(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """The frame in a form that PyAV can read: of eight planes or more it reads beyond the last."""
        import av

        if not frame.format.is_planar or frame.layout.nb_channels < _MAX_PLANES:
            return [frame]
        if self._packer is None:
            self._packer = av.AudioResampler(format="flt", layout=frame.layout.name, rate=self.rate)
        frame.pts = None
        return self._packer.resample(frame)

    def flush(self) -> np.ndarray | None:
        """The mix of what is held, or None where that is nothing."""
        if not self._length:
            return None
        values = np.concatenate(self._held, axis=1)
        self._held, self._length = [], 0
        # Who spoke a moment ago may be cut off by the end of a block.
        self._lively = np.maximum(liveliness(values, self.rate), self._lively / 10)
        gains = _gains(values, self._lively, self._shares)
        mixed = gains @ values
        before, self._gains = self._gains, gains
        if before is not None and (before != gains).any():
            count = min(values.shape[1], round(_FADE * self.rate))
            slope = np.linspace(0, 1, count, dtype=np.float32)
            mixed[:count] = slope * mixed[:count] + (1 - slope) * (before @ values[:, :count])
        return np.asarray(np.clip(mixed, -1, 1), np.float32)


def liveliness(values: np.ndarray, rate: int) -> np.ndarray:
    """The power of each channel (channels, samples) that comes and goes as speech does: (channels,).

    Deep tones count little (first difference), steady noise does not count at all.
    """
    size = max(1, round(_FRAME * rate))
    count = values.shape[1] // size
    if count < 2:
        return np.asarray(np.square(values).mean(axis=1), np.float64)
    # The difference over 1/16,000 s, whatever the rate.
    step = max(1, round(rate / 16_000))
    power = np.empty((len(values), count))
    for number, channel in enumerate(values):
        rises = channel[step:] - channel[:-step]
        frames = np.append(rises, np.zeros(step, np.float32))[: count * size].reshape(count, size)
        power[number] = np.square(frames).mean(axis=1)
    quiet, loud = np.percentile(power, (10, 98), axis=1)
    return np.asarray(np.maximum(0.0, loud - _STEADY * quiet))


def _gains(values: np.ndarray, lively: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """What each channel is multiplied with, (channels,) float32, so that the mix is as loud as they are."""
    power = np.square(values).mean(axis=1, dtype=np.float64)
    if not lively.any():
        lively = power
    if not lively.any():
        return np.asarray(shares / shares.sum(), np.float32)
    first = int(np.argmax(lively))
    heard = lively > lively[first] * _FAINT
    together = (values @ values.T).astype(np.float64) / values.shape[1]
    scale = np.sqrt(np.maximum(power * power[first], 1e-20))
    signs = np.where(together[first] / scale < _OPPOSED, -1.0, 1.0)
    gains = np.where(heard, signs * shares, 0.0)
    # Channels that hold the same add up, and those that do not add their power.
    loudest = float(power[heard].max())
    total = np.sqrt(max(float(gains @ together @ gains), 0.0) / max(loudest, 1e-20))
    return np.asarray(gains / total if total > 0 else gains, np.float32)


def _shares(names: list[str]) -> np.ndarray:
    if len(names) < 3 or "FC" not in names:
        return np.ones(len(names))
    shares = {"FC": _CENTRE, "FL": _SIDES, "FR": _SIDES}
    return np.array([shares.get(name, _REST) for name in names])


def _values(frame: av.AudioFrame, channels: int) -> np.ndarray:
    """The samples (channels, n) float32 in -1 … 1."""
    values: np.ndarray = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, channels).T
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    if values.dtype.kind == "i":
        return np.asarray(values / np.float32(-float(np.iinfo(values.dtype).min)), np.float32)
    return np.nan_to_num(np.clip(values.astype(np.float32), -8, 8), nan=0.0)
