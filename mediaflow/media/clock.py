"""One clock for all streams of a container: time that grows, also where clips were joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av

# Seconds by which a time stamp may lie before the end of its stream's last packet without being another
# clip's; more where there is only the time of showing, whose order B-frames change.
MAX_BACK, MAX_BACK_OF_SHOWING = 0.5, 2.0
# Seconds that a stream may leap ahead of all others (FFmpeg's dts_delta_threshold).
MAX_AHEAD = 10.0
_MAX_OFFSETS = 8
_MAX_STAMP = 1 << 62


class Clock:
    """Turns the time stamps of packets into seconds from the start of playing.

    Clips that were joined (`cat`, a camera that starts a new clock, a counter of 33 bits that wraps) have
    clocks of their own. Where a packet fits no clock seen so far, it begins another clip: one offset,
    for all streams, puts it behind the end of what came before. Each stream changes over when its own
    packets do. `leaps` says whether a leap ahead is another clip too, as in transport streams, or a gap,
    as in containers with an index.
    """

    def __init__(self, start: float, leaps: bool) -> None:
        self.leaps = leaps
        self.joined = False
        self._offsets = [-start]  # seconds to add, the last used last
        self._due: dict[int, float] = {}  # by stream: where its next packet belongs
        self._before: dict[int, float] = {}  # the same before its last leap, which may be one wrong stamp

    @property
    def now(self) -> float:
        """The end of what has been placed."""
        return max(self._due.values(), default=0.0)

    def place(self, packet: av.Packet[Any]) -> float | None:
        """Set a packet's time stamps to this clock; its seconds, or None where it has no time stamp."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None or not packet.time_base:
            return None
        base = float(packet.time_base)
        raw, stream = stamp * base, packet.stream.index
        back = MAX_BACK if packet.dts is not None else MAX_BACK_OF_SHOWING
        offset = self._offset(stream, raw, back)
        self._use(offset)
        self._due[stream] = raw + offset + float((packet.duration or 0) * base)
        shift = round(offset / base)
        packet.pts, packet.dts = _moved(packet.pts, shift), _moved(packet.dts, shift)
        shown = packet.pts if packet.pts is not None else packet.dts
        return None if shown is None else shown * base

    def _offset(self, stream: int, raw: float, back: float) -> float:
        due = self._due.get(stream)
        if due is None and not self.leaps:  # streams may stand one behind the other in the file
            return self._offsets[-1]
        expected = self.now if due is None else due
        nearest = min(self._offsets, key=lambda offset: abs(raw + offset - expected))
        at = raw + nearest
        early = MAX_AHEAD if due is None else back
        if expected - early <= at <= max(expected, self.now) + MAX_AHEAD:
            self._before.pop(stream, None)
            return nearest
        if at > expected and not self.leaps:
            self._before[stream] = expected
            return nearest
        before = self._before.pop(stream, None)
        if before is not None and before - back <= at <= before + MAX_AHEAD:
            return nearest
        self.joined = True
        return self.now - raw

    def _use(self, offset: float) -> None:
        others = [each for each in self._offsets if each != offset]
        self._offsets = [*others[1 - _MAX_OFFSETS :], offset]


def _moved(stamp: int | None, shift: int) -> int | None:
    """A time stamp moved, or None where no counter could hold it."""
    return None if stamp is None or abs(stamp + shift) >= _MAX_STAMP else stamp + shift
