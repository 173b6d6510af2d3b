"""An ONNX graph written from weights: just the messages of onnx.proto that such a graph needs."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

IR_VERSION, OPSET = 8, 17
MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators
FLOAT, UINT8, INT64 = 1, 2, 7
ELEMENTS = {np.dtype("float32"): FLOAT, np.dtype("uint8"): UINT8, np.dtype("int64"): INT64}
Attribute = int | float | str | Sequence[int]


class Graph:
    """Collects nodes and weights; `serialised` is a model that ONNX Runtime loads.

    The field numbers are those of onnx.proto (ONNX 1.12, IR version 8), which never change.
    """

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []
        self._count = 0

    def weight(self, values: np.ndarray) -> str:
        """Add a constant (float32, uint8 or int64); its name."""
        name = self._name("weight")
        dims = b"".join(_integer(1, size) for size in values.shape)
        data = np.ascontiguousarray(values).tobytes()
        self._weights.append(dims + _integer(2, ELEMENTS[values.dtype]) + _text(8, name) + _bytes(9, data))
        return name

    def node(
        self, operator: str, *inputs: str, output: str = "", domain: str = "", **attributes: Attribute
    ) -> str:
        """Add a node with one output; the output's name. `domain` is "" for the standard's operators."""
        output = output or self._name(operator)
        parts = [_text(1, name) for name in inputs] + [_text(2, output), _text(4, operator)]
        parts += [_text(7, domain)] if domain else []
        parts += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(b"".join(parts))
        return output

    def serialised(
        self, inputs: dict[str, Sequence[int | str]], outputs: dict[str, Sequence[int | str]]
    ) -> bytes:
        """The model as bytes; `inputs` and `outputs` are float32 tensors by name with their shapes."""
        graph = b"".join(_bytes(1, node) for node in self._nodes) + _text(2, "mediaflow")
        graph += b"".join(_bytes(5, weight) for weight in self._weights)
        graph += b"".join(_bytes(11, _value(name, shape)) for name, shape in inputs.items())
        graph += b"".join(_bytes(12, _value(name, shape)) for name, shape in outputs.items())
        operators = _bytes(8, _integer(2, OPSET)) + _bytes(8, _text(1, MICROSOFT) + _integer(2, 1))
        return _integer(1, IR_VERSION) + operators + _bytes(7, graph)

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _integer(3, value) + _integer(20, 2)
    if isinstance(value, float):
        return _text(1, name) + _key(2, 5) + struct.pack("<f", value) + _integer(20, 1)
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _integer(20, 3)
    return _text(1, name) + b"".join(_integer(8, item) for item in value) + _integer(20, 7)


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = (_integer(1, size) if isinstance(size, int) else _text(2, size) for size in shape)
    dims = b"".join(_bytes(1, size) for size in sizes)
    return _text(1, name) + _bytes(2, _bytes(1, _integer(1, FLOAT) + _bytes(2, dims)))


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _key(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _integer(number: int, value: int) -> bytes:
    return _key(number, 0) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _key(number, 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())
