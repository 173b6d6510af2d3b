"""Sound: any recording as 16 kHz mono FLAC, in constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import av

RATE = 16_000
_LOWEST_RATE = 1000  # samples a second; less is no sound, but a header that makes hours of a few bytes
_SMALLEST_GAP = 0.2  # seconds; less is how clocks differ
_MOST_SILENCE = 4 * 3600 * RATE  # samples of it in all; a clock that asks for more is wrong
_BLOCK = RATE * 10


class Sound:
    """Takes the packets of one audio stream and writes a FLAC file of 16-bit samples at 16 kHz, mono.

    Silence stands where the stream has a gap or starts late, so that a sample's place is its time
    from `start`, in seconds of the container's clock. `errors` counts packets that do not decode.
    """

    def __init__(self, stream: av.AudioStream, file: Any, start: float, longest: float | None) -> None:
        import av

        self.stream, self.start = stream, start
        self.longest = longest
        self.samples = self.silent = 0
        self.errors = 0
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        self._shape: tuple[Any, ...] | None = None
        self._output = av.open(file, "w", format="flac")
        self._encoder = self._output.add_stream("flac", rate=RATE, layout="mono", format="s16")

    @property
    def seconds(self) -> float:
        return self.samples / RATE

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
        self._write_frames(self._resampled(None))
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
            self._write_frames(self._resampled(None))
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            self._shape = shape
        if frame.pts is not None and self.stream.time_base:
            self._fill_to(float(frame.pts * self.stream.time_base) - self.start)
        frame.pts = None
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
        for packet in self._encoder.encode(frame):
            self._output.mux(packet)
