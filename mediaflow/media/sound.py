"""Sound: any recording as 16 kHz mono FLAC, in constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mediaflow.media.channels import Mixer

if TYPE_CHECKING:
    import av

RATE = 16_000
_LOWEST_RATE = 1000  # samples a second; less is no sound, but a header that makes hours of a few bytes
_SMALLEST_GAP = 0.2  # seconds; less is how clocks differ
_MOST_SILENCE = 4 * 3600 * RATE  # samples of it in all; a clock that asks for more is wrong
_BLOCK = RATE * 10
LEVEL = RATE // 20  # samples of which one loudness is kept
FLOOR = 100  # decibels below full scale that are silence


class Sound:
    """Takes the packets of one audio stream and writes a FLAC file of 16-bit samples at 16 kHz, mono.

    Silence stands where the stream has a gap or starts late, up to `longest` seconds, so that a sample's
    place is its time on the container's clock. `errors` counts packets that do not decode.
    """

    def __init__(self, stream: av.AudioStream, file: Any, longest: float | None) -> None:
        import av

        self.stream, self.longest = stream, longest
        self.samples = self.silent = 0
        self.errors = 0
        self._levels = bytearray()
        self._unmeasured = np.zeros(0, np.float32)
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        self._mixer: Mixer | None = None
        self._shape: tuple[Any, ...] | None = None
        self._output = av.open(file, "w", format="flac")
        self._encoder = self._output.add_stream("flac", rate=RATE, layout="mono", format="s16")

    @property
    def seconds(self) -> float:
        """How much has come, with its silence."""
        return self.samples / RATE + (self._mixer.seconds if self._mixer else 0.0)

    @property
    def levels(self) -> np.ndarray:
        """Loudness of each LEVEL samples in decibels above -FLOOR, (n,) uint8; 0 is silence."""
        return np.frombuffer(self._levels, np.uint8)

    def feed(self, packet: av.Packet[Any] | None) -> None:
        """Decode a packet (None: what the decoder still holds) and write what it says."""
        import av

        try:
            frames = self.stream.codec_context.decode(packet)
        except av.FFmpegError:
            self.errors += 1
            return
        for frame in frames:
            self._take(frame)

    def close(self) -> None:
        """Finish the file; call it once, also after an error."""
        self._finish_shape()
        for packet in self._encoder.encode(None):
            self._output.mux(packet)
        self._output.close()

    def _take(self, frame: av.AudioFrame) -> None:
        import av

        if frame.sample_rate < _LOWEST_RATE:
            self.errors += 1
            return
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:  # a stream may change its form half-way
            self._finish_shape()
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            self._shape = shape
            several = frame.layout.nb_channels > 1
            self._mixer = Mixer(frame.sample_rate, frame.layout) if several else None
        if frame.pts is not None and self.stream.time_base:
            self._fill_to(float(frame.pts * self.stream.time_base))
        if self._mixer:
            try:
                mixed = self._mixer.feed(frame)
            except (av.FFmpegError, ValueError):  # a damaged frame has fewer samples than it says
                self.errors += 1
                return
            self._write_mixed(mixed)
            return
        frame.pts = None
        self._write_frames(self._resampled(frame))

    def _finish_shape(self) -> None:
        """Write what is held of sound of one form."""
        if self._mixer:
            self._write_mixed(self._mixer.flush())
        self._write_frames(self._resampled(None))

    def _write_mixed(self, values: np.ndarray | None) -> None:
        import av

        if values is None or self._mixer is None:
            return
        frame = av.AudioFrame.from_ndarray(values[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = self._mixer.rate
        self._write_frames(self._resampled(frame))

    def _resampled(self, frame: av.AudioFrame | None) -> list[av.AudioFrame]:
        """What comes out of the resampler; nothing where a damaged frame is of a form that it cannot take."""
        import av

        if self._shape is None:
            return []
        try:
            return self._resampler.resample(frame)
        except (av.FFmpegError, ValueError):
            self.errors += 1
            self._shape = None
            return []

    def _fill_to(self, time: float) -> None:
        """Silence up to `time`, unless the stream's clock is plainly wrong."""
        gap = time - self.seconds
        if gap < _SMALLEST_GAP or self.longest is None or time > self.longest:
            return
        missing = round(gap * RATE)
        if self.silent + missing > _MOST_SILENCE:
            return
        self.silent += missing
        if self._mixer:
            self._write_mixed(self._mixer.flush())
        while missing > 0:
            self._encode(np.zeros((1, min(missing, _BLOCK)), np.int16))
            missing -= _BLOCK

    def _write_frames(self, frames: list[av.AudioFrame]) -> None:
        for frame in frames:
            self._encode(frame.to_ndarray())

    def _encode(self, values: np.ndarray) -> None:
        import av

        if not values.size:
            return
        frame = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts = self.samples
        self.samples += values.shape[1]
        self._measure(values[0])
        for packet in self._encoder.encode(frame):
            self._output.mux(packet)

    def _measure(self, values: np.ndarray) -> None:
        """Keep how loud it is: a byte for a twentieth of a second, 860 kB for twelve hours."""
        values = np.concatenate([self._unmeasured, values.astype(np.float32) / 32768])
        count = len(values) // LEVEL
        power = np.square(values[: count * LEVEL]).reshape(count, LEVEL).mean(axis=1)
        decibels = 10 * np.log10(np.maximum(power, 1e-12)) + FLOOR
        self._levels += np.clip(np.rint(decibels), 0, 255).astype(np.uint8).tobytes()
        self._unmeasured = values[count * LEVEL :]
