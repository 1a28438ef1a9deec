"""models.tensors: safetensors bytes ⇄ named arrays and metadata. *tensors* → linear, torch_model.

Read and written here and not by the safetensors package: its reader gives metadata from files only, while the bytes that are
loaded must be the very bytes that were hashed; and its writer orders metadata by chance, while a version's digest must repeat.
Format: u64 size of the header, JSON header {name: {dtype, shape, data_offsets}, __metadata__: {str: str}}, the arrays end to end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_infer.models.base import model_error

HEADER_BYTES_MAX = 1_000_000  # the format allows 100 MB; a header of ours is some hundred bytes, and parsing is where attacks begin
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
CODES = {np.dtype(numpy_name): code for code, numpy_name in DTYPES.items()}

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Tensors:
    """arrays by name (read-only views of the bytes) and the file's metadata."""

    arrays: Arrays
    metadata: dict[str, str]


def write_tensors(arrays: Arrays, metadata: dict[str, str]) -> bytes:
    """The same bytes for the same arrays and metadata, whatever the order of the dicts."""
    header: dict[str, object] = {"__metadata__": metadata}
    parts: list[bytes] = []
    place = 0
    # Widest items first, as the safetensors package does, so that every array starts aligned.
    for name in sorted(arrays, key=lambda key: (-arrays[key].dtype.itemsize, key)):
        array = arrays[name]
        parts.append(np.ascontiguousarray(array).tobytes())
        header[name] = {"dtype": CODES[array.dtype], "shape": list(array.shape), "data_offsets": [place, place + array.nbytes]}
        place += array.nbytes
    text = orjson.dumps(header, option=orjson.OPT_SORT_KEYS)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def read_tensors(data: bytes, file: str) -> Tensors:
    """Raises ModelError for anything but one well-formed safetensors file without holes. bfloat16 is widened to float32."""
    header = _header(data, file)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _broken(file, "metadata that is not text by name")
    body = memoryview(data)[8 + int.from_bytes(data[:8], "little") :]
    spans = sorted((_span(name, entry, file), name) for name, entry in header.items())
    end = 0
    for (start, stop), name in spans:
        if start != end or stop < start:
            raise _broken(file, f"tensor {name} at bytes {start} to {stop} after byte {end}: a hole or an overlap")
        end = stop
    if end != len(body):
        raise model_error(
            "the file is cut off or has bytes too many",
            file,
            got=f"{len(body)} bytes of tensors",
            expected=f"{end} bytes",
            fix="copy or export the file again",
        )
    return Tensors({name: _array(body, header[name], name, file) for name in header}, metadata)


def _header(data: bytes, file: str) -> dict[str, object]:
    if len(data) < 8:
        raise model_error(
            "the file is cut off", file, got=f"{len(data)} bytes", expected="a safetensors file", fix="copy or export the file again"
        )
    size = int.from_bytes(data[:8], "little")
    # A sound header begins with "{"; its size may well begin with the byte that pickles begin with.
    if data[8:9] != b"{" and (data[:4] == b"PK\x03\x04" or data[:1] == b"\x80"):
        raise model_error(
            "the file holds a pickle or an archive, which can run code when it is loaded",
            file,
            got="a .pt, .pth or pickle file",
            expected="safetensors",
            fix="save it with safetensors.torch.save_file(module.state_dict(), path, metadata=…)",
        )
    if size > HEADER_BYTES_MAX:
        raise _broken(file, f"a header of {size} bytes (at most {HEADER_BYTES_MAX})")
    if size > len(data) - 8:
        raise model_error(
            "the file is cut off",
            file,
            got=f"{len(data)} bytes, the header alone needs {8 + size}",
            expected="the whole file",
            fix="copy or export the file again",
        )
    try:
        header = orjson.loads(data[8 : 8 + size])
    except orjson.JSONDecodeError as error:
        raise _broken(file, f"a header that is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise _broken(file, "a header that is no JSON object")
    return header


def _span(name: str, entry: object, file: str) -> tuple[int, int]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(place) is int and place >= 0 for place in offsets):
        raise _broken(file, f"tensor {name} without data_offsets")
    return offsets[0], offsets[1]


def _array(body: memoryview, entry: object, name: str, file: str) -> NDArray[np.generic]:
    start, stop = _span(name, entry, file)
    assert isinstance(entry, dict)  # _span has seen it
    code, shape = entry.get("dtype"), entry.get("shape")
    if code != "BF16" and (not isinstance(code, str) or code not in DTYPES):
        raise model_error(
            f"tensor {name} has a type that is not read here",
            file,
            got=str(code),
            expected=", ".join([*DTYPES, "BF16"]),
            fix="save it as float32",
        )
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise _broken(file, f"tensor {name} without a shape")
    dtype = np.dtype("<u2") if code == "BF16" else np.dtype(DTYPES[code])
    if math.prod(shape) * dtype.itemsize != stop - start:
        raise _broken(file, f"tensor {name} of shape {shape} in {stop - start} bytes")
    array = np.frombuffer(body[start:stop], dtype=dtype).reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if code == "BF16" else array


def _broken(file: str, got: str) -> Exception:
    return model_error("the file is no sound safetensors file", file, got=got, expected="safetensors", fix="export the file again")
