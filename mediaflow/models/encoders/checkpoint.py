"""Weights out of a PyTorch checkpoint, without PyTorch and without unpickling it."""

from __future__ import annotations

import pickletools
import struct
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mediaflow.errors import ModelError

MAGIC = 0x1950A86A20F9469CFC6C
DTYPES: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch LongStorage": np.dtype("<i8"),
}
TENSOR = "torch._utils _rebuild_tensor_v2"
MAPPING = "collections OrderedDict"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's place: which storage, offset in elements, shape, strides in elements."""

    storage: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(slots=True)
class _Machine:
    """A pickle machine that knows data and two names; everything else is refused."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, stream: BytesIO) -> Any:
        """The value of the next pickle in `stream`; its code is read, never executed."""
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise ValueError("it ends early")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT"}:
            stack.append(argument)
        elif name == "GLOBAL":
            if argument not in {*DTYPES, TENSOR, MAPPING}:
                raise ValueError(f"it names {argument!r}, which weights do not need")
            stack.append(argument)
        elif name in {"NONE", "NEWTRUE", "NEWFALSE"}:
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        elif name in {"EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"}:
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in {"TUPLE", "APPENDS", "SETITEMS"}:
            self._gather(name)
        elif name in {"TUPLE1", "TUPLE2", "TUPLE3"}:
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif name in {"BINPUT", "LONG_BINPUT"}:
            self.memo[argument] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(self.memo[argument])
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_build(function, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes of the mapping (its version), which are not weights
        elif name != "PROTO":
            raise ValueError(f"it holds the instruction {name}, which weights do not need")

    def _gather(self, name: str) -> None:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        if name == "TUPLE":
            self.stack.append(tuple(items))
        elif name == "APPENDS":
            self.stack[-1].extend(items)
        else:
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _storage(identity: tuple[Any, ...]) -> tuple[str, np.dtype[Any]]:
    kind, kind_name, key, _location, _numel, _view = identity
    if kind != "storage":
        raise ValueError(f"it refers to {kind!r}")
    return str(key), DTYPES[str(kind_name)]


def _build(function: str, arguments: tuple[Any, ...]) -> Any:
    if function == MAPPING:
        return {}
    if function != TENSOR:
        raise ValueError(f"it calls {function!r}")
    (key, dtype), offset, shape, strides = arguments[:4]
    return Tensor(key, dtype, offset, shape, strides)


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict that `torch.save` of PyTorch before 1.6 wrote, by name.

    The format: pickles of a magic number, the version, the machine, the state dict and the list of
    storages, then each storage as its length (int64) and its elements. Raises ModelError where the
    file is of another format or holds anything but tensors.
    """
    try:
        stream = BytesIO(path.read_bytes())
        if _Machine().run(stream) != MAGIC:
            raise ValueError("it is not a PyTorch checkpoint of the old format")
        for _ in range(2):
            _Machine().run(stream)
        tensors: dict[str, Tensor] = _Machine().run(stream)
        keys: list[str] = _Machine().run(stream)
        dtypes = {tensor.storage: tensor.dtype for tensor in tensors.values()}
        storages = {key: _elements(stream, dtypes[key]) for key in keys}
        return {name: _view(tensor, storages[tensor.storage]) for name, tensor in tensors.items()}
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(f"{path} cannot be read as weights: {error}.") from error


def _elements(stream: BytesIO, dtype: np.dtype[Any]) -> np.ndarray:
    (count,) = struct.unpack("<q", stream.read(8))
    data = stream.read(count * dtype.itemsize)
    if count < 0 or len(data) != count * dtype.itemsize:
        raise ValueError("it ends early")
    return np.frombuffer(data, dtype)


def _view(tensor: Tensor, elements: np.ndarray) -> np.ndarray:
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if min(tensor.offset, *tensor.shape, *tensor.strides, 0) < 0 or last >= len(elements):
        raise ValueError("it holds a tensor that reaches beyond its storage")
    steps = tuple(step * elements.itemsize for step in tensor.strides)
    view = np.lib.stride_tricks.as_strided(elements[tensor.offset :], tensor.shape, steps, writeable=False)
    return np.ascontiguousarray(view)
