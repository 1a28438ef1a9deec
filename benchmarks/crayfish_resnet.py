"""crayfish_resnet: ResNet50 in plain torch and as an ONNX file, with the same drawn weights. onnx → *resnet* → models.

The layers are those of He et al. (2016) with the stride on the 3 x 3 convolution; neither torchvision nor the onnx package is needed. Batch
normalisation with drawn statistics would only scale what follows, so it is left at its first state: mean 0, variance 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import crayfish_onnx
from benchmarks.crayfish_onnx import node
from stream_infer.records import Floats

SIDE = 224
WIDTH = 3 * SIDE * SIDE
OUTPUTS = 1000
EPSILON = 1e-5
_BLOCKS = ((3, 64), (4, 128), (6, 256), (3, 512))
_WIDER = 4  # how many times as many channels a block gives as it has within


@dataclass(frozen=True)
class Conv:
    """A convolution and its normalisation."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1


@dataclass(frozen=True)
class Block:
    """Three convolutions and a way around them; around: None where the input itself goes around."""

    within: tuple[Conv, Conv, Conv]
    around: Conv | None


STEM = Conv("stem", 3, 64, 7, 2)


def blocks() -> Iterator[Block]:
    """All 16, in order."""
    inputs = STEM.outputs
    for stage, (count, width) in enumerate(_BLOCKS):
        for place in range(count):
            name, stride = f"s{stage}b{place}", 2 if stage and not place else 1
            within = (
                Conv(f"{name}a", inputs, width, 1),
                Conv(f"{name}b", width, width, 3, stride),
                Conv(f"{name}c", width, width * _WIDER, 1),
            )
            yield Block(within, None if place else Conv(f"{name}d", inputs, width * _WIDER, 1, stride))
            inputs = width * _WIDER


def weights() -> dict[str, NDArray[np.float32]]:
    """Kernels by the names of the convolutions, and head.weight, head.bias."""
    draw = np.random.default_rng(7)
    convs = [STEM, *(conv for block in blocks() for conv in (*block.within, *([block.around] if block.around else [])))]
    found = {}
    for conv in convs:
        # The last of a block small, so that sixteen blocks do not add up to infinity.
        spread = np.sqrt(2 / (conv.inputs * conv.kernel**2)) * (0.3 if conv.name.endswith("c") else 1.0)
        found[conv.name] = draw.normal(0, spread, (conv.outputs, conv.inputs, conv.kernel, conv.kernel)).astype(np.float32)
    found["head.weight"] = draw.normal(0, 0.02, (OUTPUTS, 512 * _WIDER)).astype(np.float32)
    found["head.bias"] = draw.normal(0, 0.02, OUTPUTS).astype(np.float32)
    return found


class Flat(nn.Module):
    """float32[n, 150528] → float32[n, 1000]."""

    def __init__(self) -> None:
        super().__init__()
        arrays = weights()
        self.stem = _conv(STEM, arrays)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.Sequential(*(_Residual(block, arrays) for block in blocks()))
        self.head = nn.Linear(512 * _WIDER, OUTPUTS)
        self.head.load_state_dict({name: torch.from_numpy(arrays[f"head.{name}"]) for name in ("weight", "bias")})
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.pool(torch.relu(self.stem(x.reshape(-1, 3, SIDE, SIDE))))
        out = self.head(self.blocks(out).mean((2, 3)))
        return torch.as_tensor(out)


class _Residual(nn.Module):
    def __init__(self, block: Block, arrays: dict[str, NDArray[np.float32]]) -> None:
        super().__init__()
        self.first, self.second, self.third = (_conv(conv, arrays) for conv in block.within)
        self.around = nn.Identity() if block.around is None else _conv(block.around, arrays)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.third(torch.relu(self.second(torch.relu(self.first(x)))))
        return torch.relu(out + self.around(x))


def _conv(conv: Conv, arrays: dict[str, NDArray[np.float32]]) -> nn.Sequential:
    layer = nn.Conv2d(conv.inputs, conv.outputs, conv.kernel, conv.stride, conv.kernel // 2, bias=False)
    layer.load_state_dict({"weight": torch.from_numpy(arrays[conv.name])})
    return nn.Sequential(layer, nn.BatchNorm2d(conv.outputs, eps=EPSILON))


def answers(x: NDArray[np.float32]) -> Floats:
    """float64[n, 1000], by torch in float64: numpy has no convolution."""
    with torch.inference_mode():
        out: Floats = Flat().double()(torch.from_numpy(x.astype(np.float64))).numpy()
    return out


def onnx() -> bytes:
    """The same network as an ONNX file."""
    graph = _Graph(weights())
    out = graph.relu(graph.conv(STEM, graph.add("Reshape", ("x", "image"), "pixels")))
    out = graph.add("MaxPool", (out,), "pooled", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    for block in blocks():
        inner = out
        for conv in block.within[:2]:
            inner = graph.relu(graph.conv(conv, inner))
        inner = graph.conv(block.within[2], inner)
        around = out if block.around is None else graph.conv(block.around, out)
        out = graph.relu(graph.add("Add", (inner, around), f"{block.within[0].name}+"))
    out = graph.add("Flatten", (graph.add("GlobalAveragePool", (out,), "mean"),), "flat")
    out = graph.add("Gemm", (out, "head.weight", "head.bias"), "y", transB=1)
    shapes: dict[str, NDArray[np.generic]] = {"image": np.array([-1, 3, SIDE, SIDE], dtype=np.int64)}
    return crayfish_onnx.model(graph.nodes, graph.weights | shapes, ("x", (WIDTH,)), (out, (OUTPUTS,)))


class _Graph:
    def __init__(self, arrays: dict[str, NDArray[np.float32]]) -> None:
        self.weights: dict[str, NDArray[np.generic]] = dict(arrays)
        self.nodes: list[bytes] = []

    def add(self, kind: str, inputs: tuple[str, ...], output: str, **attributes: crayfish_onnx.Attribute) -> str:
        self.nodes.append(node(kind, inputs, output, **attributes))
        return output

    def relu(self, name: str) -> str:
        return self.add("Relu", (name,), f"{name}!")

    def conv(self, conv: Conv, given: str) -> str:
        edge = conv.kernel // 2
        made = self.add(
            "Conv",
            (given, conv.name),
            f"{conv.name}.conv",
            kernel_shape=(conv.kernel, conv.kernel),
            strides=(conv.stride, conv.stride),
            pads=(edge, edge, edge, edge),
        )
        ones, zeros = np.ones(conv.outputs, np.float32), np.zeros(conv.outputs, np.float32)
        parts = {"scale": ones, "bias": zeros, "mean": zeros, "variance": ones}
        self.weights |= {f"{conv.name}.{part}": array for part, array in parts.items()}
        names = tuple(f"{conv.name}.{part}" for part in parts)
        return self.add("BatchNormalization", (made, *names), f"{conv.name}.out", epsilon=EPSILON)
