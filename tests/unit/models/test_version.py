"""Oracle: round trip, and sha256 of the payload."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.errors import ModelError
from stream_infer.models.version import ModelVersion

whole = st.integers(0, 2**63 - 1)


@given(st.text(min_size=1), whole, whole, whole, st.binary())
def test_bytes_and_back(name: str, number: int, effective: int, covers: int, payload: bytes) -> None:
    version = ModelVersion.of(name, number, effective, covers, payload)
    assert ModelVersion.from_bytes(version.to_bytes()) == version
    assert version.digest == hashlib.sha256(payload).hexdigest()


SOUND = ModelVersion.of("online", 7, 86_400_000, 1234, b"payload").to_bytes()


@given(st.integers(0, len(SOUND) - 1), st.integers(1, 255))
def test_a_changed_byte_is_seen_unless_it_only_changes_a_label(place: int, change: int) -> None:
    data = bytearray(SOUND)
    data[place] ^= change
    try:
        got = ModelVersion.from_bytes(bytes(data))
    except ModelError:
        return
    assert got.payload == b"payload"


@pytest.mark.parametrize("data", [b"", b"\x02" + SOUND[1:], SOUND[:4], SOUND[:30], SOUND[:-1], SOUND + b"x", b"\x01\x02\x00\x00\x00{}"])
def test_broken_records_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        ModelVersion.from_bytes(data)
