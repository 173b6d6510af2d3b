"""How the fuzzer damages a file: each mutation takes chance, the file's bytes and those of another."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Mutation = Callable[[random.Random, bytearray, bytes], bytearray]

_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000,
             0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip
# Names of chunks, boxes and headers that stand before or after a length.
_CHUNK = re.compile(rb"[A-Za-z][A-Za-z0-9]{2}[A-Za-z0-9 ]|\xff[\xc0-\xef]")
_HEAD = 200  # bytes in which most of what a header claims stands


def mutate(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """The file with one to four mutations, at least one of them in it."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        changed = chance.choice(MUTATIONS)(chance, changed, other) or bytearray(data)
    return bytes(changed)


def _flip(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    for _ in range(chance.choice((1, 4, 32))):
        data[_place(chance, data)] ^= 1 << chance.randrange(8)
    return data


def _cut(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    return data[: chance.randrange(1, len(data) + 1)]


def _copy(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    start, to = _place(chance, data), _place(chance, data)
    return data[:to] + data[start : start + chance.randrange(1, 4096)] + data[to:]


def _remove(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    start = _place(chance, data)
    del data[start : start + chance.randrange(1, 4096)]
    return data


def _splice(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    start = chance.randrange(len(other) or 1)
    at = _place(chance, data)
    return data[:at] + other[start : start + 200_000]


def _extreme(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    for _ in range(chance.choice((1, 3))):
        at, size = _place(chance, data), chance.choice((1, 2, 4, 8))
        _put(chance, data, at, size)
    return data


def _lie(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    """An extreme where a chunk says how long it is: before its name, after it, or in its first fields."""
    names = [match.start() for match in _CHUNK.finditer(data[:100_000])]
    if not names:
        return _extreme(chance, data, other)
    at = chance.choice(names) + chance.choice((-4, 4, 8, 12, 16, 2))
    _put(chance, data, max(0, at), 4)
    return data


def _place(chance: random.Random, data: bytearray) -> int:
    """A place in the data; every second time in its head, where the headers are."""
    end = min(len(data), _HEAD) if chance.random() < 0.5 else len(data)
    return chance.randrange(end or 1)


def _put(chance: random.Random, data: bytearray, at: int, size: int) -> None:
    value = chance.choice(_EXTREMES) & ((1 << 8 * size) - 1)
    piece = value.to_bytes(size, chance.choice(("little", "big")))[: max(0, len(data) - at)]
    data[at : at + len(piece)] = piece


MUTATIONS: tuple[Mutation, ...] = (_flip, _cut, _copy, _remove, _splice, _extreme, _extreme, _lie, _lie)
