"""EfficientNet-Lite on ONNX Runtime, its graph built from the published weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mediaflow.models.encoders.checkpoint import read_checkpoint
from mediaflow.models.encoders.graph import Graph
from mediaflow.models.encoders.session import open_session
from mediaflow.settings import Settings

# Tan and Le 2019 (EfficientNet), Table 1: repeats and first stride of the seven stages; kernel
# sizes and channels are those of the weights. Lite: no squeeze-and-excite, ReLU6, first and last
# stage not repeated more often with depth.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
EPSILON = 1e-3


class Variant(NamedTuple):
    """A member of the family: its depth multiplier and the side of its square input in pixels."""

    depth: float
    pixels: int


VARIANTS = {
    "efficientnet-lite0": Variant(1.0, 224),
    "efficientnet-lite1": Variant(1.1, 240),
    "efficientnet-lite2": Variant(1.2, 260),
}


class EfficientNet:
    """Logits and pooled features of EfficientNet-Lite (Google, Apache-2.0)."""

    def __init__(self, name: str, weights: Path, settings: Settings) -> None:
        self.variant = VARIANTS[name]
        self._session = open_session(build(read_checkpoint(weights), self.variant), settings)

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (n, classes) and features (n, channels), float32, of `prepare`d images (n, 3, p, p)."""
        logits, features = self._session.run(["logits", "features"], {"images": images})
        return logits, features


def prepare(image: np.ndarray, pixels: int) -> np.ndarray:
    """Two views of an RGB uint8 image (h, w, 3): all of it squeezed to a square, and its middle square.

    (2, 3, p, p) float32 as the network was trained on, (x - 127) / 128. The first sees the edges, the
    second the true shapes.
    """
    from PIL import Image

    picture = Image.fromarray(image)
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    boxes = ((0, 0, width, height), (left, top, left + side, top + side))
    views = [picture.resize((pixels, pixels), Image.Resampling.BICUBIC, box, reducing_gap=3) for box in boxes]
    stacked = np.stack([np.asarray(view, dtype=np.float32) for view in views])
    return ((stacked - 127) / 128).transpose(0, 3, 1, 2)


def build(weights: dict[str, np.ndarray], variant: Variant) -> bytes:
    """The network as a serialised ONNX model: `images` in, `logits` and `features` out."""
    graph = Graph()
    x = _convolution(graph, weights, "images", "_conv_stem", "_bn0", stride=2)
    for index, stride in enumerate(_strides(variant.depth)):
        x = _block(graph, weights, x, f"_blocks.{index}", stride)
    x = _convolution(graph, weights, x, "_conv_head", "_bn1")
    pooled = graph.node("Flatten", graph.node("GlobalAveragePool", x), output="features")
    matrix, bias = graph.weight(weights["_fc.weight"]), graph.weight(weights["_fc.bias"])
    graph.node("Gemm", pooled, matrix, bias, output="logits", transB=1)
    classes, channels = weights["_fc.weight"].shape
    shape: Sequence[int | str] = ("n", 3, variant.pixels, variant.pixels)
    return graph.serialised({"images": shape}, {"logits": ("n", classes), "features": ("n", channels)})


def _strides(depth: float) -> list[int]:
    strides = []
    for stage, (repeats, stride) in enumerate(STAGES):
        scaled = repeats if stage in (0, len(STAGES) - 1) else math.ceil(repeats * depth)
        strides += [stride] + [1] * (scaled - 1)
    return strides


def _block(graph: Graph, weights: dict[str, np.ndarray], x: str, name: str, stride: int) -> str:
    """One inverted residual block; only the first has no expansion."""
    y = x
    if f"{name}._expand_conv.weight" in weights:
        y = _convolution(graph, weights, y, f"{name}._expand_conv", f"{name}._bn0")
    y = _convolution(graph, weights, y, f"{name}._depthwise_conv", f"{name}._bn1", stride, depthwise=True)
    y = _convolution(graph, weights, y, f"{name}._project_conv", f"{name}._bn2", activate=False)
    first = weights.get(f"{name}._expand_conv.weight", weights[f"{name}._depthwise_conv.weight"])
    channels_in = first.shape[1] if first.shape[1] > 1 else first.shape[0]
    same = channels_in == weights[f"{name}._project_conv.weight"].shape[0]
    return graph.node("Add", y, x) if same and stride == 1 else y


def _convolution(
    graph: Graph,
    weights: dict[str, np.ndarray],
    x: str,
    name: str,
    norm: str,
    stride: int = 1,
    *,
    depthwise: bool = False,
    activate: bool = True,
) -> str:
    """Convolution with its batch norm folded in, then ReLU6; padded as TensorFlow does (SAME)."""
    kernel = weights[f"{name}.weight"]
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    folded = (kernel * scale[:, None, None, None]).astype(np.float32)
    y = graph.node(
        "Conv",
        x,
        graph.weight(folded),
        graph.weight(bias.astype(np.float32)),
        strides=(stride, stride),
        kernel_shape=kernel.shape[2:],
        group=kernel.shape[0] if depthwise else 1,
        auto_pad="SAME_UPPER",
    )
    if not activate:
        return y
    low, high = (graph.weight(np.array(value, dtype=np.float32)) for value in (0, 6))
    return graph.node("Clip", y, low, high)
