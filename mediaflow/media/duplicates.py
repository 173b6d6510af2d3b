"""Duplicate tracks: sound and pictures that a recording holds twice, which would be found twice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_BLOCK = 200  # levels (10 s) that are compared together
_LAG = 4  # levels (0.2 s) by which codecs may delay one track against another
_LIVELY = 3.0  # decibels of spread below which a block holds nothing to compare
_ALIKE = 0.9  # correlation of the loudness of two mixes of the same sound
# Part of the blocks that must be alike: a dub or a commentary differs during speech.
_NEARLY_ALL = 0.95
_QUIET = 30  # decibels above the floor, below which a twentieth of a second says nothing (-70 dB)


def silent(levels: np.ndarray) -> bool:
    """Whether nothing in a track is as loud as a whisper far away (see `Sound.levels`)."""
    return not (levels > _QUIET).any()


def duplicates(levels: Mapping[int, np.ndarray]) -> dict[int, int]:
    """The tracks that say the same as an earlier one, and which one that is.

    `levels` is loudness over time of each track, (n,) uint8 decibels.
    """
    kept: list[int] = []
    same: dict[int, int] = {}
    for track, values in levels.items():
        twin = next((other for other in kept if _is_same(levels[other], values)), None)
        if twin is None:
            kept.append(track)
        else:
            same[track] = twin
    return same


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two tracks grow loud and quiet together, whatever their volume."""
    length = max(len(one), len(other))
    if min(len(one), len(other)) < 0.95 * length - _BLOCK:
        return False
    first, second = (_padded(values, length) for values in (one, other))
    agreed = compared = 0
    for at in range(0, length, _BLOCK):
        block, same = first[at : at + _BLOCK], second[at : at + _BLOCK]
        if len(block) < _BLOCK // 4 or max(block.std(), same.std()) < _LIVELY:
            continue
        compared += 1
        agreed += any(_correlation(*_shifted(block, same, lag)) > _ALIKE for lag in range(-_LAG, _LAG + 1))
    return compared > 0 and agreed >= _NEARLY_ALL * compared


def _shifted(one: np.ndarray, other: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """What two blocks have in common when the other is later by `lag`."""
    count = len(one) - abs(lag)
    return one[max(0, -lag) :][:count], other[max(0, lag) :][:count]


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """Quiet parts all alike, so that the noise of a codec does not count; smoothed; at a common length."""
    loud = np.maximum(values.astype(np.float32), _QUIET)
    loud = np.convolve(np.pad(loud, 2, mode="edge"), np.ones(5, np.float32) / 5, mode="valid")
    return np.pad(loud, (0, length - len(loud)), constant_values=_QUIET)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    spread = float(one.std() * other.std())
    return float(((one - one.mean()) * (other - other.mean())).mean()) / spread if spread else 0.0
