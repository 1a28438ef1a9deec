"""models.onnx_file: what an ONNX file holds, seen before any runtime reads it. *onnx_file* → onnx_model.

An ONNX file may name other files to read its weights from, relative to wherever the process runs: those bytes were never hashed, and
the file need not lie in the topology's folder. So every tensor is looked at first, here, in the protobuf that will be loaded, of which
this reads as much as is needed: https://protobuf.dev/programming-guides/encoding, and the numbers of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stream_infer.models.base import model_error

DEPTH_MAX = 64  # of graphs within graphs

# Messages that hold tensors: field number → the message it holds. Repeated and merged fields are all seen, as the parser merges them.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_TYPE, _FLOATS, _NAME, _RAW, _DOUBLES, _EXTERNAL, _PLACE = 2, 4, 8, 9, 10, 13, 14  # fields of a tensor
_FLOAT, _HALF, _DOUBLE, _BFLOAT = 1, 10, 11, 16  # types of a tensor

Field = tuple[int, int, int, memoryview]  # number, wire type, value of a varint, bytes of all others


def check_onnx(data: bytes, file: str) -> None:
    """Raise ModelError where the bytes are no protobuf, name another file, or hold a tensor with NaN (infinities may be meant)."""
    _message(memoryview(data), "model", file, 0)


def _message(data: memoryview, kind: str, file: str, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise _broken(file, f"graphs within graphs, more than {DEPTH_MAX} deep")
    held = _MESSAGES[kind]
    for number, wire, _, body in _fields(data, file):
        inner = held.get(number)
        if inner is None or wire != 2:
            continue
        if inner == "tensor":
            _tensor(body, file)
        else:
            _message(body, inner, file, depth + 1)


def _tensor(data: memoryview, file: str) -> None:
    name, code, parts, elsewhere = "", 0, [], False
    for number, wire, value, body in _fields(data, file):
        if number == _NAME and wire == 2:
            name = bytes(body).decode("utf-8", "replace")
        elif number == _TYPE and wire == 0:
            code = value
        elif number in (_FLOATS, _DOUBLES, _RAW) and wire != 0:
            parts.append((number, body))
        elsewhere |= (number == _EXTERNAL and wire == 2) or (number == _PLACE and value != 0)
    if elsewhere:
        raise model_error(
            f"tensor {name} lies in another file",
            file,
            got="external data",
            expected="one file that holds all weights, so that what is hashed is what is loaded",
            fix="save it in one file: onnx.save(onnx.load(path), path)",
        )
    if any(_has_nan(number, code, body) for number, body in parts):
        raise model_error(f"tensor {name} holds NaN", file, expected="numbers", fix="train again: the model diverged")


def _has_nan(number: int, code: int, body: memoryview) -> bool:
    kinds = {(_FLOATS, _FLOAT): "<f4", (_DOUBLES, _DOUBLE): "<f8", (_RAW, _FLOAT): "<f4", (_RAW, _DOUBLE): "<f8", (_RAW, _HALF): "<f2"}
    if (number, code) == (_RAW, _BFLOAT):
        return bool(((np.frombuffer(body[: len(body) // 2 * 2], dtype="<u2") & 0x7FFF) > 0x7F80).any())
    dtype = np.dtype(kinds.get((number, code), "u1"))
    if dtype.kind != "f":
        return False
    return bool(np.isnan(np.frombuffer(body[: len(body) // dtype.itemsize * dtype.itemsize], dtype=dtype)).any())


def _fields(data: memoryview, file: str) -> Iterator[Field]:
    """Every field of one message."""
    place, end, nothing = 0, len(data), data[:0]
    while place < end:
        tag, place = _varint(data, place, file)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(data, place, file)
            yield number, wire, value, nothing
            continue
        if wire == 2:
            size, place = _varint(data, place, file)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _broken(file, f"byte {place} begins a field of wire type {wire}")
        if number == 0 or place + size > end:
            raise _broken(file, "the file is cut off" if number else "a field without a number")
        yield number, wire, 0, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int, file: str) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first; and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise _broken(file, "the file is cut off")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _broken(file, "a number of more than ten bytes")


def _broken(file: str, got: str) -> Exception:
    return model_error("the file is no sound ONNX file", file, got=got, expected="an ONNX model", fix="copy or export the file again")
