"""crayfish_onnx: ONNX files written by hand, so that no benchmark needs the onnx package. models → *crayfish_onnx* → peers.

ONNX is one protobuf message. Of protobuf this needs two things: varints and byte strings with their length before them. Field numbers are
those of onnx.proto3: ModelProto {1 ir_version, 7 graph, 8 opset_import}, GraphProto {1 node, 2 name, 5 initializer, 11 input, 12 output},
NodeProto {1 input, 2 output, 4 op_type, 5 attribute}, TensorProto {1 dims, 2 data_type, 8 name, 9 raw_data}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

IR_VERSION = 8
OPSET = 17
_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7, np.dtype(np.float64): 11}
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_INTS = 1, 2, 7

Attribute = int | float | tuple[int, ...]
Arrays = Mapping[str, NDArray[np.generic]]


def node(kind: str, inputs: Sequence[str], output: str, **attributes: Attribute) -> bytes:
    """A NodeProto of one output."""
    parts = [_text(1, name) for name in inputs] + [_text(2, output), _text(4, kind)]
    return b"".join(parts) + b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())


def model(nodes: Sequence[bytes], weights: Arrays, given: tuple[str, tuple[int, ...]], made: tuple[str, tuple[int, ...]]) -> bytes:
    """A ModelProto of one input and one output. given, made: name and shape of a row; the number of rows is left open.

    Input and output have the type of the weights.
    """
    kind = _TYPES[next(iter(weights.values())).dtype]
    graph = b"".join(_bytes(1, one) for one in nodes) + _text(2, "graph")
    graph += b"".join(_bytes(5, _tensor(name, array)) for name, array in weights.items())
    graph += _bytes(11, _value(*given, kind)) + _bytes(12, _value(*made, kind))
    return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, OPSET))


def mlp(layers: Sequence[tuple[NDArray[np.generic], NDArray[np.generic]]]) -> bytes:
    """Dense layers with relu between them. layers: weight [out, in] and bias [out] of each."""
    nodes: list[bytes] = []
    weights: dict[str, NDArray[np.generic]] = {}
    last = "x"
    for place, (weight, bias) in enumerate(layers):
        weights |= {f"w{place}": weight, f"b{place}": bias}
        name = f"y{place}"
        nodes.append(node("Gemm", (last, f"w{place}", f"b{place}"), name, transB=1))
        last = name
        if place < len(layers) - 1:
            nodes.append(node("Relu", (name,), last := f"r{place}"))
    return model(nodes, weights, ("x", (layers[0][0].shape[1],)), (last, (layers[-1][0].shape[0],)))


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, tuple):
        return _text(1, name) + b"".join(_number(8, one) for one in value) + _number(20, _ATTRIBUTE_INTS)
    if isinstance(value, float):
        return _text(1, name) + b"\x15" + np.float32(value).tobytes() + _number(20, _ATTRIBUTE_FLOAT)
    return _text(1, name) + _number(3, value) + _number(20, _ATTRIBUTE_INT)


def _tensor(name: str, array: NDArray[np.generic]) -> bytes:
    dims = b"".join(_number(1, length) for length in array.shape)
    return dims + _number(2, _TYPES[array.dtype]) + _text(8, name) + _bytes(9, np.ascontiguousarray(array).tobytes())


def _value(name: str, row: tuple[int, ...], kind: int) -> bytes:
    """ValueInfoProto: name, and a tensor type whose first length is a name."""
    dims = _bytes(1, _text(2, "rows")) + b"".join(_bytes(1, _number(1, length)) for length in row)
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, dims)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _bytes(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
