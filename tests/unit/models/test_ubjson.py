"""Oracle: XGBoost writes the same model in both forms; and the format's own examples."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.errors import ModelError
from stream_infer.models.ubjson import UbjsonReader
from tests.unit.models.makers import xgb


def plain(value: object) -> object:
    """As JSON would say it; float32 in its shortest words."""
    if isinstance(value, np.ndarray):
        return [float(str(number)) if value.dtype.kind == "f" else int(number) for number in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def close(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(close(x, y) for x, y in zip(a, b, strict=True))
    return a == pytest.approx(b, rel=1e-6) if isinstance(a, float) else a == b


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob"])
def test_both_forms_of_a_model_say_the_same(objective: str) -> None:
    booster = xgb(objective, **({"num_class": 3} if "multi" in objective else {}))
    read = UbjsonReader(bytes(booster.save_raw("ubj")), "m.ubj").whole()
    assert close(plain(read), json.loads(bytes(booster.save_raw("json"))))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"Z", None),
        (b"T", True),
        (b"i\xff", -1),
        (b"U\xff", 255),
        (b"I\x01\x00", 256),
        (b"l\x00\x01\x00\x00", 65536),
        (b"d\x3f\x80\x00\x00", 1.0),
        (b"SU\x02hi", "hi"),
        (b"[U\x01U\x02]", [1, 2]),
        (b"[#U\x02U\x01U\x02", [1, 2]),
        (b"{U\x01aTU\x01bF}", {"a": True, "b": False}),
        (b"{#U\x01U\x01aT", {"a": True}),
        (b"{$U#U\x01U\x01a\x07", {"a": 7}),
    ],
)
def test_the_forms_of_values(data: bytes, value: object) -> None:
    assert UbjsonReader(data, "f").whole() == value


def test_lists_of_one_type_are_arrays() -> None:
    found = UbjsonReader(b"[$d#U\x02\x3f\x80\x00\x00\x40\x00\x00\x00", "f").whole()
    assert isinstance(found, np.ndarray)
    assert (found.tolist(), found.dtype) == ([1.0, 2.0], np.float32)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut off"),
        (b"[", "cut off"),
        (b"[" * 100, "without end"),
        (b"TT", "behind the end"),
        (b"x", "no known kind"),
        (b"[$T#L\x00\x00\x00\x7f\xff\xff\xff\xff", "length of"),
        (b"[$T#U\x05", "container of"),
        (b"[$U]", "type but no count"),
        (b"Si\xff", "length of -1"),
        (b"SdU", "a length of kind"),
    ],
)
def test_what_is_no_ubjson(data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        UbjsonReader(data, "f").whole()


@given(st.binary(max_size=60), st.integers(min_value=0, max_value=2000))
def test_no_bytes_lead_astray(noise: bytes, place: int) -> None:
    data = bytearray(bytes(xgb().save_raw("ubj"))[:4000])
    data[place : place + len(noise)] = noise
    try:
        UbjsonReader(bytes(data), "f").whole()
    except ModelError:
        return  # anything else is a fault of the reader
