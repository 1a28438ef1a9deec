"""Oracle: the safetensors package, in both directions; damaged files must give ModelError and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stream_infer.errors import ModelError
from stream_infer.models.tensors import DTYPES, HEADER_BYTES_MAX, read_tensors, write_tensors

arrays = st.dictionaries(
    st.text("abc.", min_size=1, max_size=4),
    st.sampled_from(list(DTYPES.values())).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)


def same(got: dict, expected: dict) -> None:
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()


@given(arrays)
def test_the_package_reads_what_we_write(tensors: dict) -> None:
    data = write_tensors(tensors, {"kind": "linear"})
    same(safetensors.numpy.load(data), tensors)
    same(read_tensors(data, "f").arrays, tensors)
    assert read_tensors(data, "f").metadata == {"kind": "linear"}


@given(arrays)
def test_we_read_what_the_package_writes(tensors: dict) -> None:
    data = safetensors.numpy.save(tensors, metadata={"a": "1", "b": "ö"})
    same(read_tensors(data, "f").arrays, tensors)
    assert read_tensors(data, "f").metadata == {"a": "1", "b": "ö"}


def test_bfloat16_is_widened() -> None:
    values = torch.tensor([1.5, -3.25, 1e30], dtype=torch.bfloat16)
    got = read_tensors(safetensors.torch.save({"w": values}), "f").arrays["w"]
    assert got.dtype == np.float32
    assert got.tolist() == values.to(torch.float32).tolist()


def test_the_same_model_gives_the_same_bytes() -> None:
    one, two = np.arange(3.0), np.arange(4, dtype=np.float32)
    assert write_tensors({"a": one, "b": two}, {"x": "1", "y": "2"}) == write_tensors({"b": two, "a": one}, {"y": "2", "x": "1"})


SOUND = write_tensors({"weights": np.arange(6.0).reshape(3, 2), "bias": np.zeros(2)}, {"kind": "linear"})


@given(st.integers(0, len(SOUND) - 1))
def test_a_file_cut_anywhere_is_refused(size: int) -> None:
    with pytest.raises(ModelError, match=r"cut off|sound"):
        read_tensors(SOUND[:size], "m.safetensors")


@given(st.integers(0, len(SOUND) * 8 - 1))
def test_a_flipped_bit_is_refused_or_leaves_a_sound_file(bit: int) -> None:
    data = bytearray(SOUND)
    data[bit // 8] ^= 1 << bit % 8
    try:
        tensors = read_tensors(bytes(data), "m.safetensors")
    except ModelError:
        return
    assert sum(array.nbytes for array in tensors.arrays.values()) == 64


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        read_tensors(data, "m.safetensors")


def with_header(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(start: int, stop: int, **changes: object) -> dict:
    return {"dtype": "F64", "shape": [(stop - start) // 8], "data_offsets": [start, stop]} | changes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((HEADER_BYTES_MAX + 1).to_bytes(8, "little") + bytes(100), "a header of 1000001 bytes"),
        ((2**63).to_bytes(8, "little") + bytes(100), "a header of 9223372036854775808 bytes"),
        (b"PK\x03\x04" + bytes(100), "can run code"),
        (b"\x80\x04\x95" + bytes(100), "can run code"),
        (with_header([1]), "no JSON object"),
        (with_header({"w": entry(0, 8)}), "cut off"),
        (with_header({"w": entry(0, 8)}, bytes(9)), "too many"),
        (with_header({"w": entry(0, 8), "v": entry(16, 24)}, bytes(24)), "hole or an overlap"),
        (with_header({"w": entry(0, 16), "v": entry(8, 24)}, bytes(24)), "hole or an overlap"),
        (with_header({"w": entry(0, 8, shape=[2])}, bytes(8)), "of shape"),
        (with_header({"w": entry(0, 8, shape=[-1])}, bytes(8)), "without a shape"),
        (with_header({"w": entry(0, 8, dtype="F8_E4M3")}, bytes(8)), "type that is not read"),
        (with_header({"w": entry(0, 8, dtype=["F64"])}, bytes(8)), "type that is not read"),
        (with_header({"w": entry(0, 8, data_offsets=[0, "8"])}, bytes(8)), "without data_offsets"),
        (with_header({"__metadata__": {"a": 1}}), "metadata"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_tensors(data, "m.safetensors")
